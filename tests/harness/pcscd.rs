//! A private pcscd with virtual readers for each test: its own folder, socket and ports.
//!
//! pcscd always uses `/run/pcscd`, so it runs in a mount namespace of its own where that path is the test's folder.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener, UdpSocket},
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::LONGEST;

/// The maximum number of readers in pcscd.
const MOST_READERS: usize = 16;

/// Below the range of the system's ephemeral ports.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// The name of the socket that pcscd is moved to, in its folder.
pub const UPSTREAM: &str = "upstream.comm";

/// A running pcscd. Dropping kills it.
pub struct Pcscd {
    folder: tempfile::TempDir,
    first_port: u16,
    /// The names of the entries in the configuration, each of two readers.
    names: Vec<Vec<u8>>,
    /// The socket that it is started with; `None` if it makes its own.
    upstream: Option<UnixListener>,
    process: Child,
    /// Reserves these ports against other tests while pcscd is down.
    _reservation: UdpSocket,
}

impl Pcscd {
    /// Starts pcscd with `readers` empty virtual readers, 1–16 (an odd number is rounded up), and waits until it
    /// accepts clients.
    ///
    /// # Errors
    /// pcscd or its driver is not installed, the system allows no mount namespace, or pcscd does not start within 20 s.
    pub fn start(readers: usize) -> anyhow::Result<Self> {
        Self::start_as(&usual_names(readers))
    }

    /// Starts pcscd with two empty virtual readers for each of `names`, which are bytes of any encoding: PC/SC adds
    /// ` 00 00` and ` 00 01`. Otherwise like [`Pcscd::start`].
    ///
    /// # Errors
    /// The errors of [`Pcscd::start`].
    pub fn start_as(names: &[impl AsRef<[u8]>]) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("pcscd-").tempdir()?;
        let (reservation, first_port) = free_ports()?;
        fs::create_dir(folder.path().join("run"))?;
        fs::create_dir(folder.path().join("conf"))?;
        let names = configure(folder.path(), names, first_port)?;
        let process = spawn(folder.path(), None)?;
        let mut pcscd = Self { folder, first_port, names, upstream: None, process, _reservation: reservation };
        pcscd.wait_until_ready()?;
        Ok(pcscd)
    }

    /// The socket's path: the value of `PCSCLITE_CSOCK_NAME` for clients.
    pub fn socket(&self) -> PathBuf {
        let name = if self.upstream.is_some() { UPSTREAM } else { "pcscd.comm" };
        self.run_folder().join(name)
    }

    /// The folder that is `/run/pcscd` for pcscd.
    pub fn run_folder(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// Starts pcscd again as a service manager does that listens on [`UPSTREAM`] in its stead, or, if not
    /// `is_upstream`, with its own socket. What others have put into its folder stays there.
    ///
    /// # Errors
    /// The errors of [`Pcscd::start`].
    pub fn move_socket(&mut self, is_upstream: bool) -> anyhow::Result<()> {
        self.kill()?;
        for left in [self.socket(), self.run_folder().join("pcscd.pid")] {
            // An error means that it is not there.
            let _ = fs::remove_file(left);
        }
        self.upstream = None;
        if is_upstream {
            let path = self.run_folder().join(UPSTREAM);
            // An error means that it is not there.
            let _ = fs::remove_file(&path);
            self.upstream = Some(UnixListener::bind(path)?);
        }
        self.process = spawn(self.folder.path(), self.upstream.as_ref())?;
        self.wait_until_ready()
    }

    /// The number of virtual readers.
    pub fn readers(&self) -> usize {
        2 * self.names.len()
    }

    /// The TCP port on which the reader with this index, from 0, waits for its card.
    pub fn port(&self, reader: usize) -> u16 {
        self.first_port + reader as u16
    }

    /// PC/SC's name of the reader with this index, from 0.
    pub fn reader_name(&self, reader: usize) -> String {
        format!("{} 00 {:02}", String::from_utf8_lossy(&self.names[reader / 2]), reader % 2)
    }

    /// The output of pcscd so far, as text.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Kills pcscd (SIGKILL), like a crash.
    ///
    /// # Errors
    /// An error of the operating system, on waiting for the process.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Starts pcscd again, in the same folder with the same readers, and waits until it accepts clients.
    ///
    /// # Errors
    /// The errors of [`Pcscd::start`].
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        let run = self.run_folder();
        if self.upstream.is_none() {
            fs::remove_dir_all(&run)?;
            fs::create_dir(&run)?;
        }
        self.process = spawn(self.folder.path(), self.upstream.as_ref())?;
        self.wait_until_ready()
    }

    /// Like [`Pcscd::restart`], with readers of these names instead, see [`Pcscd::start_as`].
    ///
    /// # Errors
    /// The errors of [`Pcscd::start`].
    pub fn restart_as(&mut self, names: &[impl AsRef<[u8]>]) -> anyhow::Result<()> {
        self.names = configure(self.folder.path(), names, self.first_port)?;
        self.restart()
    }

    /// Sends pcscd a signal, for example to stop it and to let it go on.
    ///
    /// # Errors
    /// An error of the operating system.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(self.process.id().cast_signed()).context("no pid")?;
        Ok(kill_process(pid, signal)?)
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + LONGEST;
        while UnixStream::connect(self.socket()).is_err() {
            let ended = self.process.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                bail!("pcscd did not start ({ended:?}): {}", self.log());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Pcscd {
    fn drop(&mut self) {
        // Nothing can be done about a process that cannot be killed.
        let _ = self.kill();
    }
}

fn friendly_name(entry: usize) -> String {
    format!("Virtual PCD {}", char::from(b'A' + entry as u8))
}

fn library(folder: &Path, entry: usize) -> PathBuf {
    folder.join(format!("driver-{entry}.so"))
}

/// The names of the entries for so many readers.
pub fn usual_names(readers: usize) -> Vec<String> {
    (0..readers.div_ceil(2)).map(friendly_name).collect()
}

/// Writes pcscd's configuration. An entry defines two readers, on its port and the next one.
fn configure(folder: &Path, names: &[impl AsRef<[u8]>], first_port: u16) -> anyhow::Result<Vec<Vec<u8>>> {
    let most = MOST_READERS / 2;
    ensure!((1..=most).contains(&names.len()), "pcscd has 1 to {most} entries, not {}", names.len());
    let mut text = Vec::new();
    for (entry, name) in names.iter().enumerate() {
        // The driver keeps its slots in static variables: each entry needs a library of its own.
        let driver = library(folder, entry);
        if !driver.exists() {
            fs::copy(self::driver()?, &driver)?;
        }
        let (port, driver) = (usize::from(first_port) + 2 * entry, driver.display());
        text.extend([b"FRIENDLYNAME \"", name.as_ref(), b"\"\n"].concat());
        text.extend(format!("DEVICENAME /dev/null:0x{port:04X}\nLIBPATH {driver}\nCHANNELID 0x{port:04X}\n\n").bytes());
    }
    fs::write(folder.join("conf/readers"), text)?;
    Ok(names.iter().map(|name| name.as_ref().to_vec()).collect())
}

fn driver() -> anyhow::Result<PathBuf> {
    let folders = [
        "/usr/lib/pcsc/drivers/serial",
        "/usr/lib/x86_64-linux-gnu/pcsc/drivers/serial",
        "/usr/lib/aarch64-linux-gnu/pcsc/drivers/serial",
        "/usr/lib64/pcsc/drivers/serial",
        "/usr/local/lib/pcsc/drivers/serial",
    ];
    let mut paths = folders.iter().map(|folder| Path::new(folder).join("libifdvpcd.so"));
    paths.find(|path| path.exists()).context("no driver libifdvpcd.so: install the package vsmartcard-vpcd")
}

fn spawn(folder: &Path, upstream: Option<&UnixListener>) -> anyhow::Result<Child> {
    let root = rustix::process::geteuid().is_root();
    // Another user may not create /run/pcscd, but owns the namespace's copy.
    let place = if root { "mkdir -p /run/pcscd" } else { "mount -t tmpfs none /run && mkdir /run/pcscd" };
    let activate =
        if upstream.is_some() { "export LISTEN_PID=$$ LISTEN_FDS=1 && exec 3<&0 0</dev/null &&" } else { "" };
    let script = format!(
        "{place} && mount --bind \"$0/run\" /run/pcscd && {activate} exec pcscd --foreground --config \"$0/conf\""
    );
    let stdin = match upstream {
        Some(socket) => OwnedFd::from(socket.try_clone()?).into(),
        None => Stdio::null(),
    };
    let log = File::options().create(true).append(true).open(folder.join("log"))?;
    Command::new("unshare")
        .args([if root { "-m" } else { "-rm" }, "sh", "-c", &script])
        .arg(folder)
        .stdin(stdin)
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot run unshare (package util-linux)")
}

/// The first of 16 free TCP ports. The UDP port of that number is the lock against other tests, released when its owner
/// ends.
fn free_ports() -> anyhow::Result<(UdpSocket, u16)> {
    const BLOCK: u16 = MOST_READERS as u16;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let blocks = (PORTS.end - PORTS.start) / BLOCK;
    // Tests that run at the same time begin their search at different places.
    let start = (std::process::id() % u32::from(blocks)) as u16;
    for _ in 0..blocks {
        let block = (start + NEXT.fetch_add(1, Ordering::Relaxed)) % blocks;
        let first = PORTS.start + block * BLOCK;
        let Ok(reservation) = UdpSocket::bind((Ipv4Addr::LOCALHOST, first)) else { continue };
        if (first..first + BLOCK).all(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()) {
            return Ok((reservation, first));
        }
    }
    bail!("no free ports between {} and {}", PORTS.start, PORTS.end)
}
