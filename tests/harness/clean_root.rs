//! A Debian system without Cardbroker, booted with systemd in a container, for stories about the packages.

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
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::{
    LONGEST,
    run::{Run, run, wait},
    users::may_become_others,
};

/// The top folder of the repository, which is at the same path on the system, read-only.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Enough to fetch and unpack the packages of the system.
const MAKING: Duration = Duration::from_secs(300);

/// Enough to boot on a busy machine, which takes 1 s on a quiet one.
const BOOTING: Duration = Duration::from_secs(60);

/// Enough for all other stories that boot the system, and make packages meanwhile.
const OTHERS: Duration = Duration::from_secs(900);

/// Paths that may differ after a purge, as beginnings.
const CHANGING: [&str; 10] = [
    // Logs.
    "/var/log/",
    // dpkg's list of all packages, with its backups and locks. The files of each package in `info/` are compared.
    "/var/lib/dpkg/status",
    "/var/lib/dpkg/lock",
    // The copies that useradd and userdel make of the files before a change.
    "/etc/passwd-",
    "/etc/group-",
    "/etc/shadow-",
    "/etc/gshadow-",
    "/etc/subuid-",
    "/etc/subgid-",
    // The story's own files.
    "/tmp/",
];

/// A running system. Dropping it ends all its processes and forgets its changes.
pub struct CleanRoot {
    /// The program that ends the system when it ends.
    keeper: Child,
    /// The system's first process, as this system numbers it.
    leader: String,
    /// The mount point of its files, and its console.
    _folder: tempfile::TempDir,
    /// Held while the system runs: two at once would share control groups.
    _lock: File,
}

impl CleanRoot {
    /// Boots the system; `None` if this process may not. The first call makes its files, which takes a minute.
    ///
    /// # Errors
    /// In CI, if it may not; it does not boot.
    pub fn boot() -> anyhow::Result<Option<Self>> {
        if !may_become_others()? {
            return Ok(None);
        }
        let root = files()?;
        let lock = locked(&root.with_extension("boot.lock"))?;
        let repository = fs::canonicalize(ROOT)?;
        let target = fs::canonicalize(target())?;
        let folder = tempfile::tempdir()?;
        // All changes are in memory, in a mount namespace that ends with the system.
        let script = "mount -t tmpfs none \"$1\" && mkdir \"$1/upper\" \"$1/work\" \"$1/root\" &&
            mount -t overlay -o \"lowerdir=$2,upperdir=$1/upper,workdir=$1/work\" none \"$1/root\" &&
            exec systemd-nspawn --quiet --directory=\"$1/root\" --boot --register=no --keep-unit --private-network \
                --machine=clean-root --bind-ro=\"$3\" --bind-ro=\"$4\"";
        let console = folder.path().join("console");
        // All processes are in a pid namespace that the kernel ends with this test, however it ends.
        let keeper = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--mount-proc", "--fork"])
            .args(["--kill-child=KILL", "sh", "-c", script, "boot"])
            .args([folder.path(), &root, &repository, &target])
            .stdin(Stdio::null())
            .stdout(File::create(&console)?)
            .stderr(Stdio::inherit())
            .spawn()
            .context("cannot start setpriv")?;
        let mut system = Self { keeper, leader: String::new(), _folder: folder, _lock: lock };
        system.leader = system.find_leader()?;
        let booted = system.wait_for_unit("multi-user.target", "active");
        booted.with_context(|| fs::read_to_string(&console).unwrap_or_default())?;
        let failed = system.shell("systemctl list-units --failed --plain --no-legend")?;
        ensure!(failed.is_empty(), "{failed}");
        Ok(Some(system))
    }

    /// Waits until the system's first process accepts requests.
    fn find_leader(&mut self) -> anyhow::Result<String> {
        let deadline = Instant::now() + BOOTING;
        loop {
            // unshare has one child, systemd-nspawn, whose children are a helper and the first process.
            for child in children(&self.keeper.id().to_string()).iter().flat_map(|child| children(child)) {
                if Path::new(&(format!("/proc/{child}/root") + "/run/systemd/private")).exists() {
                    return Ok(child);
                }
            }
            let ended = self.keeper.try_wait()?;
            ensure!(ended.is_none() && Instant::now() < deadline, "the system does not boot: {ended:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// A program of the system, run as root, without the variables of this process.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.leader, "--all"]).arg(program);
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// A program of the system, run as one of its users.
    pub fn command_as(&self, user: &str, program: &[&str]) -> Command {
        let mut command = self.command("setpriv");
        command.arg(format!("--reuid={user}")).arg(format!("--regid={user}")).arg("--init-groups").args(program);
        command
    }

    /// Runs a shell script as root and returns its output.
    ///
    /// # Errors
    /// A command of the script fails, or the errors of [`run`].
    pub fn shell(&self, commands: &str) -> anyhow::Result<String> {
        let done = self.run_shell(commands)?;
        ensure!(done.code == Some(0), "{commands}: {done:?}");
        Ok(done.out)
    }

    /// Runs a shell script as root. It ends at the first command that fails.
    ///
    /// # Errors
    /// The errors of [`run`].
    pub fn run_shell(&self, commands: &str) -> anyhow::Result<Run> {
        run(self.command("sh").args(["-ec", commands]))
    }

    /// Waits at most 30 s until a unit is in `state`.
    ///
    /// # Errors
    /// It is in another one; the error contains the broker's log.
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

    /// All files of the system except logs and a few more (`CHANGING`), with their owners, modes and SHA-256 sums.
    ///
    /// # Errors
    /// They cannot be listed.
    pub fn files(&self) -> anyhow::Result<BTreeMap<String, String>> {
        // /proc, /sys, /dev and the folders of this machine are other file systems.
        let list = "find / -xdev -printf '%p\t%y %m %u %g %l\n'
            find / -xdev -type f -exec sha256sum {} + | sed 's|^\\([0-9a-f]*\\)  \\(.*\\)$|\\2\t\\1|'
            find /run -xdev -name '*cardbroker*' -printf '%p\t%y\n'";
        let mut files = BTreeMap::<String, String>::new();
        for (path, of) in self.shell(list)?.lines().filter_map(|line| line.split_once('\t')) {
            if !CHANGING.iter().any(|changing| path.starts_with(changing)) {
                files.entry(path.to_owned()).or_default().push_str(&format!("{of} "));
            }
        }
        Ok(files)
    }

    /// Copies a file of this machine into the system's folder `/tmp`. Returns its path there.
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
        // Nothing is worth a halt in good order: all changes are in memory. An error means that it has already ended.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// The children of a process; none if it has ended.
fn children(process: &str) -> Vec<String> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    children.split_whitespace().map(str::to_owned).collect()
}

/// The folder of everything that is built.
fn target() -> PathBuf {
    Path::new(ROOT).join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Locks a file until it is dropped.
fn locked(path: &Path) -> anyhow::Result<File> {
    let file = File::create(path)?;
    let deadline = Instant::now() + OTHERS;
    while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        ensure!(error == Errno::WOULDBLOCK && Instant::now() < deadline, "{}: {error}", path.display());
        thread::sleep(Duration::from_millis(100));
    }
    Ok(file)
}

/// The files of the system before a story. `make test` has made them before all stories.
fn files() -> anyhow::Result<PathBuf> {
    let script = Path::new(ROOT).join("packaging/clean-root.sh");
    let mut process = Command::new(script).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let made = wait(&mut process, MAKING)?;
    ensure!(made.success(), "packaging/clean-root.sh: {made}");
    Ok(fs::canonicalize(target())?.join("tools/clean-root"))
}
