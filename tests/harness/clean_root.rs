//! A Debian system without Cardbroker in namespaces of its own, with systemd as its first process, for stories about
//! the package.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    LONGEST,
    run::{Run, run, wait},
    users::may_become_others,
};

/// The top folder of the repository, which is at the same path on the system, read-only.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Enough to fetch and unpack its packages.
const MAKING: Duration = Duration::from_secs(300);

/// What every change of the system's packages leaves: the logs and lists of dpkg and apt, and copies of files of users.
const TRACES: [&str; 12] = [
    "/var/lib/dpkg/",
    "/var/log/",
    "/var/cache/",
    "/var/lib/systemd/",
    "/var/tmp/",
    "/etc/passwd-",
    "/etc/group-",
    "/etc/shadow-",
    "/etc/gshadow-",
    "/etc/subuid-",
    "/etc/subgid-",
    "/tmp/",
];

/// A running system. Dropping it ends all its processes and forgets its changes.
pub struct CleanRoot {
    nspawn: Child,
    /// Its first process, as this system numbers it.
    leader: String,
    /// The place of its files, and its console.
    _folder: tempfile::TempDir,
}

impl CleanRoot {
    /// Boots the system; `None` if this process may not. The first call makes its files, which takes half a minute.
    ///
    /// # Errors
    /// In CI, if it may not; it does not boot.
    pub fn boot() -> anyhow::Result<Option<Self>> {
        if !may_become_others()? {
            return Ok(None);
        }
        let root = files()?;
        let repository = fs::canonicalize(ROOT)?;
        let folder = tempfile::tempdir()?;
        // All changes are in memory, in a mount namespace that ends with the system.
        let script = "mount -t tmpfs none \"$1\" && mkdir \"$1/upper\" \"$1/work\" \"$1/root\" &&
            mount -t overlay -o \"lowerdir=$2,upperdir=$1/upper,workdir=$1/work\" none \"$1/root\" &&
            exec systemd-nspawn --quiet --directory=\"$1/root\" --boot --register=no --keep-unit --private-network \
                --machine=clean-root --bind-ro=\"$3\" --bind-ro=\"$4:/opt/node\"";
        let node = fs::canonicalize(which("node")?)?;
        let console = folder.path().join("console");
        let nspawn = Command::new("unshare")
            .args(["--mount", "sh", "-c", script, "boot"])
            .args([folder.path(), &root, &repository, &node])
            .stdin(Stdio::null())
            .stdout(File::create(&console)?)
            .stderr(Stdio::inherit())
            .spawn()
            .context("cannot start unshare")?;
        let mut system = Self { nspawn, leader: String::new(), _folder: folder };
        system.leader = system.find_leader()?;
        let up = run(system.command("systemctl").args(["is-system-running", "--wait"]))?;
        let told = fs::read_to_string(&console).unwrap_or_default();
        ensure!(up.out == "running\n", "{up:?}\n{told}");
        Ok(Some(system))
    }

    /// Waits until the first process runs and can be asked.
    fn find_leader(&mut self) -> anyhow::Result<String> {
        let deadline = Instant::now() + LONGEST;
        loop {
            let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.nspawn.id()))?;
            for child in children.split_whitespace() {
                if Path::new(&(format!("/proc/{child}/root") + "/run/systemd/private")).exists() {
                    return Ok(child.to_owned());
                }
            }
            let ended = self.nspawn.try_wait()?;
            ensure!(ended.is_none() && Instant::now() < deadline, "the system does not boot: {ended:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// A program of the system, run as root, without a variable of this process.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.leader, "--all"]).arg(program);
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// A program of the system, run by one of its users.
    pub fn command_as(&self, user: &str, program: &[&str]) -> Command {
        let mut command = self.command("setpriv");
        command.arg(format!("--reuid={user}")).arg(format!("--regid={user}")).arg("--init-groups").args(program);
        command
    }

    /// Runs commands of the shell as root, and demands that all of them succeed. Returns their output.
    ///
    /// # Errors
    /// One of them fails.
    pub fn shell(&self, commands: &str) -> anyhow::Result<String> {
        let done = self.run_shell(commands)?;
        ensure!(done.code == Some(0), "{commands}: {done:?}");
        Ok(done.out)
    }

    /// Runs commands of the shell as root, up to the first that fails.
    ///
    /// # Errors
    /// The errors of [`run`].
    pub fn run_shell(&self, commands: &str) -> anyhow::Result<Run> {
        run(self.command("sh").args(["-ec", commands]))
    }

    /// Whether the state of a unit becomes `state` in time.
    ///
    /// # Errors
    /// It does not; the error has the unit's log.
    pub fn wait_for_unit(&self, unit: &str, state: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + LONGEST;
        loop {
            let found = self.run_shell(&format!("systemctl is-active {unit}"))?;
            if found.out.trim() == state {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{unit} is {found:?}\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The log of the broker's units.
    pub fn log(&self) -> String {
        let log = self.run_shell("journalctl --no-pager --output=cat --unit='cardbrokerd.*'");
        log.map(|log| log.out).unwrap_or_default()
    }

    /// All files of the system with their contents' sizes, owners and modes; without those that every installation of
    /// any package changes.
    ///
    /// # Errors
    /// They cannot be listed.
    pub fn files(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let list = "find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /run \\) -prune -o \\
                -printf '%p\\t%y %m %u %g\\n'
            find /run -xdev -name '*cardbroker*' -printf '%p\\t%y\\n'
            for file in passwd group shadow gshadow; do sed \"s|^|/etc/$file:|; s|\\$|\\t|\" /etc/$file; done";
        let listed = self.shell(list)?;
        let files = listed.lines().filter_map(|line| line.split_once('\t'));
        let is_kept = |(path, _): &(&str, &str)| !TRACES.iter().any(|trace| path.starts_with(trace));
        Ok(files.filter(is_kept).map(|(path, of)| (path.to_owned(), of.to_owned())).collect())
    }

    /// Puts a file of this system into the folder `/tmp` of that one; returns its path there.
    ///
    /// # Errors
    /// It cannot be copied.
    pub fn copy_in(&self, file: &Path) -> anyhow::Result<String> {
        let name = file.file_name().context("no file")?.to_str().context("not text")?;
        fs::copy(file, format!("/proc/{}/root", self.leader) + &format!("/tmp/{name}"))?;
        Ok(format!("/tmp/{name}"))
    }
}

impl Drop for CleanRoot {
    fn drop(&mut self) {
        // The first signal asks the system to halt, the second ends it at once.
        let process = Pid::from_child(&self.nspawn);
        for _ in 0..2 {
            // An error means that it has already ended.
            let _ = kill_process(process, Signal::TERM);
            thread::sleep(Duration::from_millis(100));
        }
        if wait(&mut self.nspawn, LONGEST).is_err() {
            let _ = self.nspawn.kill();
            let _ = self.nspawn.wait();
        }
    }
}

/// The files of the system before a story, made once.
fn files() -> anyhow::Result<PathBuf> {
    let target = PathBuf::from(ROOT).join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()));
    let script = Path::new(ROOT).join("packaging/clean-root.sh");
    // Another list of packages is another system.
    let words = fs::read_to_string(&script)?.bytes().fold(0_u32, |sum, byte| sum.rotate_left(5) ^ u32::from(byte));
    let root = fs::canonicalize(target)?.join(format!("tools/clean-root-{words:08x}"));
    if !root.exists() {
        let mut process = Command::new(script).arg(&root).stdin(Stdio::null()).spawn()?;
        let made = wait(&mut process, MAKING)?;
        ensure!(made.success(), "packaging/clean-root.sh: {made}");
    }
    Ok(root)
}

/// The program that a shell would run.
fn which(name: &str) -> anyhow::Result<PathBuf> {
    let path = env::var_os("PATH").context("no PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file()).context("not installed")
}
