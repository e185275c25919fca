//! A machine with a `/run` of its own: the default sockets of several users, away from those of the real machine.

use std::{
    fs::{self, File, Permissions},
    io::{BufRead, BufReader},
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{
    LONGEST,
    broker::program,
    run::{run, wait},
    users::may_become_others,
};

/// A mount namespace whose `/run` is empty at first. Dropping it ends the namespace.
pub struct Machine {
    /// A process in the namespace, which exists as long as it.
    holder: Child,
    /// Copies of the programs that every user may run, and the logs.
    folder: TempDir,
}

/// A broker on a [`Machine`]. Dropping kills it.
pub struct MachineBroker {
    process: Child,
    log: PathBuf,
}

impl Machine {
    /// Makes the machine; `None` if this process may not.
    ///
    /// # Errors
    /// In CI, if it may not.
    pub fn new() -> anyhow::Result<Option<Self>> {
        if !may_become_others()? {
            return Ok(None);
        }
        let folder = tempfile::tempdir()?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        for name in ["cardbrokerd", "cardbroker"] {
            fs::copy(program(name)?, folder.path().join(name))?;
        }
        let script = "mount -t tmpfs -o mode=755 none /run && mkdir -p /run/user && echo ready && exec cat";
        let mut holder = Command::new("unshare")
            .args(["--mount", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take().context("no output")?).read_line(&mut line)?;
        let machine = Self { holder, folder };
        ensure!(line == "ready\n" || std::env::var_os("CI").is_none(), "no mount namespace");
        Ok((line == "ready\n").then_some(machine))
    }

    /// The place outside the machine of a path on it.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.holder.id()))
    }

    /// Makes a folder if it is missing, and sets its owner and mode.
    ///
    /// # Errors
    /// An error of the operating system.
    pub fn folder(&self, path: &str, owner: u32, mode: u32) -> anyhow::Result<()> {
        let path = self.path(path);
        fs::create_dir_all(&path)?;
        chown(&path, Some(owner), Some(owner))?;
        Ok(fs::set_permissions(path, Permissions::from_mode(mode))?)
    }

    /// Mounts a `/proc` that shows users their own processes only; root still sees all.
    ///
    /// # Errors
    /// An error of the operating system.
    pub fn hide_processes(&self) -> anyhow::Result<()> {
        let namespace = format!("--mount=/proc/{}/ns/mnt", self.holder.id());
        let mount = ["mount", "-t", "proc", "-o", "hidepid=2", "none", "/proc"];
        let mounted = run(Command::new("nsenter").arg(namespace).args(mount))?;
        ensure!(mounted.code == Some(0), "{mounted:?}");
        Ok(())
    }

    /// Gives the machine the system's configuration, as the package installs it.
    ///
    /// # Errors
    /// An error of the operating system.
    pub fn install_configuration(&self) -> anyhow::Result<()> {
        let script = "mkdir -p /run/etc/upper /run/etc/work && mkdir -m 755 -p /run/etc/upper/cardbroker &&
            cp \"$1\" /run/etc/upper/cardbroker/ && chmod 644 /run/etc/upper/cardbroker/* &&
            mount -t overlay -o lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work none /etc";
        let namespace = format!("--mount=/proc/{}/ns/mnt", self.holder.id());
        let file = fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/cardbrokerd.toml"))?;
        let made = run(Command::new("nsenter").args([&namespace, "sh", "-c", script, "install"]).arg(file))?;
        ensure!(made.code == Some(0), "{made:?}");
        Ok(())
    }

    /// Makes a symbolic link at `path` to `target`.
    ///
    /// # Errors
    /// An error of the operating system.
    pub fn link(&self, path: &str, target: &str) -> anyhow::Result<()> {
        Ok(symlink(target, self.path(path))?)
    }

    /// A program of Cardbroker, run on this machine by `user`, without a variable.
    pub fn command(&self, user: u32, name: &str, arguments: &[&str]) -> Command {
        self.command_by(&[], user, &[], name, arguments)
    }

    /// The same in a container: `host` runs as root and leads to one, `contained` runs as the user.
    pub fn command_by(&self, host: &[&str], user: u32, contained: &[&str], name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id()))
            .args(host)
            .args(["setpriv", &format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups"])
            .args(contained)
            .arg(self.folder.path().join(name))
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    /// Starts a broker of `user` on one simulated reader, and waits until it lists its reader at
    /// `socket`.
    ///
    /// # Errors
    /// It ends, or does not answer in time; the error has its log.
    pub fn broker(&self, user: u32, socket: &str, arguments: &[&str]) -> anyhow::Result<MachineBroker> {
        let log = self.folder.path().join(format!("log-{user}"));
        let process = self
            .command(user, "cardbrokerd", &[&["--simulate", "1", "--log", "debug"], arguments].concat())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::options().create(true).append(true).open(&log)?)
            .spawn()?;
        let mut broker = MachineBroker { process, log };
        let deadline = Instant::now() + LONGEST;
        let named = ["readers", "--endpoint", &format!("unix:{socket}"), "--connect-timeout", "0s"];
        while run(&mut self.command(user, "cardbroker", &named))?.out.is_empty() {
            let ended = broker.process.try_wait()?;
            ensure!(ended.is_none() && Instant::now() < deadline, "{ended:?}: {}", broker.log());
            thread::sleep(Duration::from_millis(20));
        }
        Ok(broker)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // An error means that it has already ended.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

impl MachineBroker {
    /// The log of the broker, as far as it is written.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill_process(Pid::from_child(&self.process), signal)?)
    }

    /// Stops the broker in order.
    ///
    /// # Errors
    /// It does not end in time.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
        wait(&mut self.process, LONGEST).map(drop)
    }
}

impl Drop for MachineBroker {
    fn drop(&mut self) {
        // An error means that it has already ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
