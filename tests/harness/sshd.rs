//! A real sshd with a configuration and keys of its own, and an `ssh -L` to it that forwards a Unix socket.
//!
//! The client starts sshd itself (`ProxyCommand`, `sshd -i`), so no port is needed.

use std::{
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Instant,
};

use anyhow::{Context, bail, ensure};
use rustix::process::geteuid;

use super::{LONGEST, run::run};

/// The folder that sshd demands if root starts it.
const PRIVILEGE_SEPARATION: &str = "/run/sshd";

/// A running `ssh -L`. Dropping kills it, and sshd ends with its connection.
pub struct Forward {
    folder: tempfile::TempDir,
    ssh: Child,
}

impl Forward {
    /// Forwards a new socket to the one at `remote`, on this machine, through sshd.
    ///
    /// # Errors
    /// ssh or sshd is not installed, or nothing is forwarded within 30 s; the error has their log.
    pub fn start(remote: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("sshd-").tempdir()?;
        let path = folder.path();
        for key in ["host", "user"] {
            let file = path.join(key);
            let made = run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(file))?;
            ensure!(made.code == Some(0), "{made:?}");
        }
        if geteuid().is_root() {
            fs::create_dir_all(PRIVILEGE_SEPARATION)?;
        }
        let at = |name: &str| path.join(name).display().to_string();
        let settings = [
            format!("HostKey {}", at("host")),
            format!("AuthorizedKeysFile {}", at("user.pub")),
            "PermitRootLogin prohibit-password".into(),
            "UsePAM no".into(),
            "StrictModes no".into(),
        ];
        fs::write(path.join("sshd_config"), settings.join("\n") + "\n")?;
        let sshd = run(Command::new("sh").args(["-c", "PATH=$PATH:/usr/sbin command -v sshd"]))?;
        ensure!(sshd.code == Some(0), "sshd is missing (package openssh-server)");
        let log = fs::File::create(path.join("log"))?;
        let ssh = Command::new("ssh")
            .args(["-F", "none", "-N", "-i", &at("user"), "-L"])
            .arg(format!("{}:{}", at("socket"), remote.display()))
            .args(["-o", &format!("ProxyCommand={} -i -e -f {}", sshd.out.trim(), at("sshd_config"))])
            .args(["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "IdentitiesOnly=yes", "-o", "ExitOnForwardFailure=yes", "broker-tests"])
            .args(user()?.iter().flat_map(|user| ["-l", user]))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot run ssh (package openssh-client)")?;
        let mut forward = Self { folder, ssh };
        forward.wait_until_ready()?;
        Ok(forward)
    }

    /// The path of the local end.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + LONGEST;
        while UnixStream::connect(self.socket()).is_err() {
            let ended = self.ssh.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                bail!("ssh does not forward ({ended:?}): {log}");
            }
            thread::sleep(std::time::Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // An error means that it has already ended.
        let _ = self.ssh.kill();
        let _ = self.ssh.wait();
    }
}

/// The name of this process's user.
fn user() -> anyhow::Result<Option<String>> {
    Ok(nix::unistd::User::from_uid(geteuid().as_raw().into())?.map(|user| user.name))
}
