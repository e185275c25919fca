//! Debian's nginx as a gRPC proxy before a broker: a process of the tests' own user, with all its files in a folder of
//! its own.

use std::{
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use cardbroker_client::{Client, Endpoint};

use super::LONGEST;

/// A running nginx. Dropping kills it.
pub struct Nginx {
    folder: tempfile::TempDir,
    process: Child,
}

impl Nginx {
    /// Starts nginx before the broker that listens at `broker`. It is configured as two servers, so that a call can be
    /// repeated at another one. Settings not in `more` have nginx's defaults.
    ///
    /// # Errors
    /// nginx is not installed, or does not listen within 20 s; the error has its log.
    pub fn start(broker: &Path, more: &str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("nginx-").tempdir()?;
        let path = folder.path();
        fs::write(path.join("nginx.conf"), configuration(path, broker, more))?;
        let process = Command::new("nginx")
            .arg("-p")
            .arg(path)
            .arg("-e")
            .arg(path.join("log"))
            .arg("-c")
            .arg(path.join("nginx.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run nginx (package nginx-light)")?;
        let mut nginx = Self { folder, process };
        nginx.wait_until_ready()?;
        Ok(nginx)
    }

    /// The path of nginx's Unix socket.
    pub fn socket(&self) -> PathBuf {
        socket(self.folder.path())
    }

    /// A client with a connection of its own to nginx.
    ///
    /// # Errors
    /// nginx has ended.
    pub async fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(Endpoint::Unix(self.socket())).await?)
    }

    /// The log of nginx so far, as text.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The number of calls that have ended, and how many of them nginx has sent more than once.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn calls(&self) -> anyhow::Result<(usize, usize)> {
        let log = fs::read_to_string(self.folder.path().join("access"))?;
        Ok((log.lines().count(), log.lines().filter(|line| line.contains(", ")).count()))
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + LONGEST;
        while UnixStream::connect(self.socket()).is_err() {
            let ended = self.process.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                bail!("nginx did not start ({ended:?}): {}", self.log());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // An error means that it has already ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("nginx.sock")
}

/// `grpc_next_upstream` repeats even calls that are not idempotent, after every failure that nginx can detect.
fn configuration(folder: &Path, broker: &Path, more: &str) -> String {
    let (folder, listen, broker) = (folder.display(), socket(folder), broker.display());
    let listen = listen.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String = temporary.iter().map(|what| format!("    {what}_temp_path {folder}/{what};\n")).collect();
    format!(
        "daemon off;
master_process off;
pid {folder}/pid;
events {{}}
http {{
{temporary}    log_format upstreams '$status $upstream_addr';
    access_log {folder}/access upstreams;
    upstream broker {{
        server unix:{broker};
        server unix:{broker};
    }}
    server {{
        listen unix:{listen} http2;
        location / {{
            grpc_pass grpc://broker;
            grpc_set_header Host localhost;
            grpc_next_upstream error timeout http_502 http_503 non_idempotent;
            {more}
        }}
    }}
}}
"
    )
}
