//! The broker's loopback listener, if this `cardbrokerd` has one.

use std::{
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
}

impl Tcp {
    /// Makes a token; `None` if this daemon has no such listener.
    pub(crate) fn prepare() -> anyhow::Result<Option<Self>> {
        let help = Command::new(program("cardbrokerd")?).arg("--help").output()?;
        if !String::from_utf8_lossy(&help.stdout).contains("--tcp") {
            return Ok(None);
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let tcp = Self { folder: tempfile::Builder::new().prefix("bench-").tempdir()?, port };
        let mut make_token = Command::new(program("cardbroker")?);
        make_token.args(["token", "new", "bench", "--tokens", &tcp.path("tokens"), "--out", &tcp.path("token")]);
        let made = make_token.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        ensure!(made.success(), "cardbroker token new: {made}");
        Ok(Some(tcp))
    }

    /// The broker's configuration for the listener.
    pub(crate) fn configuration(&self) -> String {
        let rule = "rule = [{ name = 'bench', principals = ['token:bench'], allow = ['all'] }]";
        format!("{rule}\n[listen]\ntcp = \"127.0.0.1:{}\"\ntokens = \"{}\"\n", self.port, self.path("tokens"))
    }

    /// A process's way to the broker by TCP.
    pub(crate) fn access(&self) -> Access {
        let endpoint = format!("https://127.0.0.1:{}", self.port);
        Access::default().with(ENDPOINT_VARIABLE, &endpoint).with("CARDBROKER_TOKEN_FILE", &self.path("token"))
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}
