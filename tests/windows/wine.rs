//! Windows programs in Wine, for the stories.

use std::{
    env,
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, id},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

use anyhow::{Context, bail};
pub(crate) use cardbroker_tests::harness::windows::{path, program};
use cardbroker_tests::harness::{
    LONGEST,
    pcscd::Pcscd,
    run::{self, Run},
};
use rustix::process::{Pid, Signal, kill_process};

/// Runs a program that Windows has, or one by its path there.
pub(crate) fn windows(program: &str, arguments: &[&str]) -> anyhow::Result<Run> {
    let wine = env::var_os("RUN_IN_WINE").context("run the stories by tests/windows/in-wine-namespace")?;
    run::run(Command::new(wine).arg(program).args(arguments))
}

/// A path of this machine below the drive C of Windows.
pub(crate) fn on_drive(path: &str) -> anyhow::Result<PathBuf> {
    let prefix = env::var_os("WINEPREFIX").context("run the stories by tests/windows/in-wine-namespace")?;
    Ok(Path::new(&prefix).join("drive_c").join(path))
}

/// The folder of the files of the user, who is the one that Windows has.
pub(crate) fn own_folder() -> anyhow::Result<PathBuf> {
    let users = fs::read_dir(on_drive("users")?)?;
    let folders = users.map(|user| Ok(user?.path().join("AppData/Local/cardbroker")));
    let folders = folders.collect::<std::io::Result<Vec<_>>>()?;
    folders.into_iter().find(|folder| folder.is_dir()).context("no folder")
}

/// The right to the one endpoint file of the user, for stories with that file and those without it.
pub(crate) fn claim_endpoint_file() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    // A story that has failed leaves the lock poisoned, and its broker killed.
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets the mode of a file, of which Wine makes its access list.
pub(crate) fn set_mode(path: &Path, mode: u32) -> anyhow::Result<()> {
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

/// A broker for Windows on a pipe of its own. Dropping kills it.
pub(crate) struct Broker {
    process: Child,
    pipe: String,
    log: tempfile::NamedTempFile,
}

impl Broker {
    /// Starts the broker with these flags, and waits until it serves.
    pub(crate) fn start(pcscd: Option<&Pcscd>, flags: &[&str]) -> anyhow::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let pipe = format!(r"\\.\pipe\cardbroker\story-{}-{}", id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut broker = Self::spawn(&pipe, pcscd, flags)?;
        let deadline = Instant::now() + LONGEST;
        while !broker.log().contains("serving") {
            let ended = broker.process.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                bail!("the broker does not serve ({ended:?}): {}", broker.log());
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Ok(broker)
    }

    /// Starts the broker on this pipe, and does not wait.
    pub(crate) fn spawn(pipe: &str, pcscd: Option<&Pcscd>, flags: &[&str]) -> anyhow::Result<Self> {
        let log = tempfile::NamedTempFile::new()?;
        let mut command = program("cardbrokerd")?;
        command.args(["--socket", pipe]).args(flags);
        if let Some(pcscd) = pcscd {
            command.env("PCSCLITE_CSOCK_NAME", pcscd.socket());
        }
        let output = File::options().append(true).open(log.path())?;
        let process = command.stdout(output.try_clone()?).stderr(output).spawn()?;
        Ok(Self { process, pipe: pipe.to_owned(), log })
    }

    /// The path of the pipe.
    pub(crate) fn pipe(&self) -> &str {
        &self.pipe
    }

    /// The number of the broker's process on Linux.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The broker's output so far, as text.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap_or_default()
    }

    /// Presses Ctrl-C, and returns the exit status.
    pub(crate) fn interrupt(&mut self) -> anyhow::Result<ExitStatus> {
        let pid = Pid::from_raw(self.process.id().cast_signed()).context("no process")?;
        kill_process(pid, Signal::INT)?;
        self.wait()
    }

    /// Waits until the broker has ended, and returns its exit status.
    pub(crate) fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        run::wait(&mut self.process, LONGEST)
    }

    /// The command line with this broker.
    pub(crate) fn cardbroker(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = program("cardbroker")?;
        command.args(["--endpoint", &self.pipe, "--connect-timeout", "20s"]).args(arguments);
        Ok(command)
    }

    /// Runs the command line with this broker to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> anyhow::Result<Run> {
        run::run(&mut self.cardbroker(arguments)?)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // An error means that it has already ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// Runs the command line with the broker at `endpoint` to its end.
pub(crate) fn run(endpoint: &str, arguments: &[&str]) -> anyhow::Result<Run> {
    run::run(program("cardbroker")?.args(["--endpoint", endpoint]).args(arguments))
}
