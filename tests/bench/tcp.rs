//! The broker's loopback listener, if this `cardbrokerd` has one.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    process::{Command, Stdio},
};

use anyhow::ensure;
use cardbroker_proto::ENDPOINT_VARIABLE;
use cardbroker_tests::harness::broker::program;

use crate::stage::Access;

/// A port, and a token for it.
pub(crate) struct Tcp {
    folder: tempfile::TempDir,
    port: u16,
    is_plain: bool,
}

impl Tcp {
    /// Makes a token; `None` if this daemon has no such listener.
    pub(crate) fn prepare() -> anyhow::Result<Option<Self>> {
        let help = Command::new(program("cardbrokerd")?).arg("--help").output()?;
        if !String::from_utf8_lossy(&help.stdout).contains("--tcp") {
            return Ok(None);
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let folder = tempfile::Builder::new().prefix("bench-").tempdir()?;
        let tcp = Self { folder, port, is_plain: false };
        let mut make_token = Command::new(program("cardbroker")?);
        make_token.args(["token", "new", "bench", "--tokens", &tcp.path("tokens"), "--out", &tcp.path("token")]);
        let made = make_token.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        ensure!(made.success(), "cardbroker token new: {made}");
        Ok(Some(tcp))
    }

    /// The same port without TLS.
    pub(crate) fn without_tls(self) -> anyhow::Result<Self> {
        let file = self.folder.path().join("token");
        let held = fs::read_to_string(&file)?;
        fs::write(file, held.lines().next().unwrap_or_default())?;
        Ok(Self { is_plain: true, ..self })
    }

    /// The broker's configuration for the listener.
    pub(crate) fn configuration(&self) -> String {
        let rule = "rule = [{ name = 'bench', principals = ['token:bench'], allow = ['all'] }]";
        let (port, tokens, is_plain) = (self.port, self.path("tokens"), self.is_plain);
        format!("{rule}\n[listen]\ntcp = \"127.0.0.1:{port}\"\ntokens = \"{tokens}\"\ntcp_plain = {is_plain}\n")
    }

    /// A process's way to the broker by TCP.
    pub(crate) fn access(&self) -> Access {
        let scheme = if self.is_plain { "http" } else { "https" };
        let endpoint = format!("{scheme}://127.0.0.1:{}", self.port);
        Access::default().with(ENDPOINT_VARIABLE, &endpoint).with("CARDBROKER_TOKEN_FILE", &self.path("token"))
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}
