//! The broker as a service: installed, started, reloaded, drained and removed by Wine's service control manager, which
//! restarts no service after a failure and runs services as the one user there is.

use std::{
    env, fs,
    path::Path,
    process::id,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cardbroker_tests::harness::{
    LONGEST,
    programs::Program,
    run::{self, Run},
};
use serde_json::Value;

use super::wine::{self, Broker, on_drive, program, set_mode, windows};

/// A command of the simulated card that takes three seconds.
const SLOW: &str = "80160000020BB8";

/// The folder of the installed program, as Windows names it: with a space.
const FOLDER: &str = r"C:\Program Files\cardbroker";
const KEY: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\cardbroker";
const EVENT_KEY: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\cardbroker";

/// The one service of this machine, with a configuration of its own. Dropping removes it.
struct Service {
    /// Wine ends all services with the last other program, and starts them with the next one.
    _other_program: Broker,
    _alone: MutexGuard<'static, ()>,
    config: tempfile::NamedTempFile,
    pipe: String,
}

/// The state of the service, as the manager tells it.
#[derive(Debug, PartialEq, Eq)]
struct State {
    name: String,
    checkpoint: u32,
    wait_hint: u32,
    exit: u32,
}

/// Runs the copy of the daemon that the service has.
fn daemon(arguments: &[&str]) -> anyhow::Result<Run> {
    windows(&format!(r"{FOLDER}\cardbrokerd.exe"), arguments)
}

fn control(request: &str) -> anyhow::Result<Run> {
    run::run(program("service-control")?.args(["cardbroker", request]))
}

/// Calls `look` until it gives something.
fn wait_for<T>(what: &str, mut look: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let deadline = Instant::now() + LONGEST;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "{what}: not seen");
        thread::sleep(Duration::from_millis(20));
    }
}

impl Service {
    /// Waits until the service has ended with a failure.
    fn wait_for_failure(&self) -> anyhow::Result<State> {
        wait_for("the end", || Ok(Some(self.state()?).filter(|state| state.name == "STOPPED" && state.exit != 0)))
    }

    /// Copies the daemon to the folder of programs, and prepares a configuration.
    fn prepare() -> anyhow::Result<Self> {
        static ONE: Mutex<()> = Mutex::new(());
        // A story that has failed leaves the lock poisoned, and its service removed.
        let alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = on_drive("Program Files/cardbroker")?;
        fs::create_dir_all(&folder)?;
        let built = env::var_os("WINDOWS_PROGRAMS").context("no programs")?;
        fs::copy(Path::new(&built).join("cardbrokerd.exe"), folder.join("cardbrokerd.exe"))?;
        let service = Self {
            _other_program: Broker::start(None, &["--simulate", "1"])?,
            _alone: alone,
            config: tempfile::NamedTempFile::new()?,
            pipe: format!(r"\\.\pipe\cardbroker\service-{}", id()),
        };
        service.configure("")?;
        Ok(service)
    }

    /// Writes the configuration, with further lines.
    fn configure(&self, lines: &str) -> anyhow::Result<()> {
        let text = format!("listen.socket = '{}'\nreaders.simulate = 1\n{lines}\n", self.pipe);
        Ok(fs::write(self.config.path(), text)?)
    }

    fn install(&self) -> anyhow::Result<Run> {
        daemon(&["--config", &wine::path(self.config.path()), "--grace", "20s", "service", "install"])
    }

    fn start(&self) -> anyhow::Result<()> {
        let started = control("start")?;
        ensure!(started.code == Some(0), "{started:?}");
        self.wait_for_state("RUNNING").map(drop)
    }

    /// Starts a program that sends a slow command, and waits until it has the card.
    fn start_slow_command(&self) -> anyhow::Result<Program> {
        let mut slow = program("cardbroker")?;
        slow.args(["--endpoint", &self.pipe, "transmit", "simulated-reader-00", SLOW]);
        let slow = Program::spawn(&mut slow)?;
        wait_for("the command", || {
            let status: Value = serde_json::from_str(&self.run(&["--json", "status"])?.out).unwrap_or_default();
            Ok((!status["readers"][0]["holder"].is_null()).then_some(()))
        })?;
        Ok(slow)
    }

    fn state(&self) -> anyhow::Result<State> {
        let told = control("query")?;
        let words: Vec<_> = told.out.split_whitespace().collect();
        let [name, checkpoint, wait_hint, _, exit] = words[..] else { anyhow::bail!("no state: {told:?}") };
        let name = name.to_owned();
        Ok(State { name, checkpoint: checkpoint.parse()?, wait_hint: wait_hint.parse()?, exit: exit.parse()? })
    }

    fn wait_for_state(&self, name: &str) -> anyhow::Result<State> {
        wait_for(name, || Ok(Some(self.state()?).filter(|state| state.name == name)))
    }

    fn run(&self, arguments: &[&str]) -> anyhow::Result<Run> {
        wine::run(&self.pipe, arguments)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // After a story that has removed it already this fails, which does no harm.
        if let Err(error) = daemon(&["service", "remove"]) {
            eprintln!("the service cannot be removed: {error}");
        }
    }
}

#[test]
fn the_service_is_installed_started_stopped_and_removed() -> anyhow::Result<()> {
    let service = Service::prepare()?;
    let installed = service.install()?;
    ensure!(installed.code == Some(0) && installed.out.starts_with("installed the service"), "{installed:?}");
    ensure!(installed.err.contains("note: only SYSTEM and administrators can open"), "{installed:?}");
    let image = windows("reg", &["query", KEY, "/v", "ImagePath"])?;
    let quoted = format!(r#""{FOLDER}\cardbrokerd.exe" --config {}"#, wine::path(service.config.path()));
    ensure!(image.out.contains(&quoted) && image.out.contains(" service run"), "{image:?}");
    let start = windows("reg", &["query", KEY, "/v", "Start"])?;
    ensure!(start.out.contains("0x2"), "starts with Windows: {start:?}");
    let source = windows("reg", &["query", EVENT_KEY])?;
    ensure!(source.out.contains(r"%SystemRoot%\System32\EventCreate.exe"), "{source:?}");
    ensure!(on_drive("ProgramData/cardbroker")?.is_dir());

    service.start()?;
    let readers = service.run(&["readers"])?;
    ensure!(readers.code == Some(0) && readers.out.contains("simulated-reader-00"), "{readers:?}");
    let again = service.install()?;
    ensure!(again.code == Some(0) && again.out.starts_with("changed the service"), "{again:?}");
    ensure!(service.state()?.name == "RUNNING", "it goes on");

    let removed = daemon(&["service", "remove"])?;
    ensure!(removed.code == Some(0) && removed.out.starts_with("removed the service"), "{removed:?}");
    ensure!(service.run(&["readers", "--connect-timeout", "0s"])?.code == Some(3), "it was stopped");
    ensure!(control("query")?.code == Some(1) && windows("reg", &["query", EVENT_KEY])?.code != Some(0));
    let none = daemon(&["service", "remove"])?;
    ensure!(none.code == Some(1) && none.err.contains("there is no service cardbroker"), "{none:?}");
    Ok(())
}

#[test]
fn a_stop_drains_and_shows_its_progress() -> anyhow::Result<()> {
    let service = Service::prepare()?;
    ensure!(service.install()?.code == Some(0));
    service.start()?;
    let mut slow = service.start_slow_command()?;
    let stopped = control("stop")?;
    ensure!(stopped.code == Some(0), "{stopped:?}");
    let stopping = service.state()?;
    ensure!(stopping.name == "STOP_PENDING" && stopping.checkpoint > 0 && stopping.wait_hint >= 10_000, "{stopping:?}");
    let answer = slow.line()?;
    ensure!(answer.contains("9000"), "{answer}");
    let ended = service.wait_for_state("STOPPED")?;
    ensure!(ended.exit == 0, "{ended:?}");
    // It can be started again. A removal waits for the drain as well, and says so.
    service.start()?;
    let mut slow = service.start_slow_command()?;
    let removed = daemon(&["service", "remove"])?;
    ensure!(removed.code == Some(0) && removed.err.contains("waiting for the running service"), "{removed:?}");
    let answer = slow.line()?;
    ensure!(answer.contains("9000"), "{answer}");
    Ok(())
}

#[test]
fn a_parameter_change_reloads_the_rules() -> anyhow::Result<()> {
    let service = Service::prepare()?;
    ensure!(service.install()?.code == Some(0));
    service.start()?;
    let seen = service.run(&["--json", "broker"])?;
    let sid = seen.out.split("user ").nth(1).and_then(|rest| rest.split('"').next()).context("no user")?;
    service.configure(&format!(
        "rule = [{{ name = 'none', principals = ['sid:{sid}'], readers = ['simulated-reader-00'], deny = ['all'] }}]"
    ))?;
    let changed = control("paramchange")?;
    ensure!(changed.code == Some(0) && changed.out.starts_with("RUNNING"), "{changed:?}");
    wait_for("the new rules", || {
        let readers = service.run(&["readers"])?;
        Ok((!readers.out.contains("simulated-reader-00")).then_some(()))
    })
}

#[test]
fn a_service_that_cannot_start_tells_its_exit_code() -> anyhow::Result<()> {
    let service = Service::prepare()?;
    ensure!(service.install()?.code == Some(0));
    service.configure("rule = 7")?;
    let refused = service.install()?;
    ensure!(refused.code == Some(3) && refused.err.contains("rule"), "told by the installation: {refused:?}");
    control("start")?;
    let ended = service.wait_for_failure()?;
    ensure!(ended.exit == 3, "{ended:?}");
    Ok(())
}

#[test]
fn a_console_cannot_run_the_service() -> anyhow::Result<()> {
    let run = run::run(program("cardbrokerd")?.args(["service", "run"]))?;
    ensure!(run.code == Some(2) && run.err.contains("net start cardbroker"), "{run:?}");
    Ok(())
}

#[test]
fn a_program_that_others_may_change_is_not_installed() -> anyhow::Result<()> {
    let service = Service::prepare()?;
    // The last one: anyone who may rename a parent folder can put another one in its place.
    for (path, named) in [
        ("Program Files/cardbroker/cardbrokerd.exe", r"C:\Program Files\cardbroker\cardbrokerd.exe can"),
        ("Program Files/cardbroker", r"C:\Program Files\cardbroker can"),
        ("Program Files", r"C:\Program Files can"),
    ] {
        let installed = on_drive(path)?;
        set_mode(&installed, 0o777)?;
        let refused = service.install()?;
        set_mode(&installed, 0o755)?;
        ensure!(refused.code == Some(1) && refused.err.contains(&format!("{named} be changed by")), "{refused:?}");
        ensure!(control("query")?.code == Some(1), "nothing was installed");
    }
    Ok(())
}

#[test]
fn a_folder_that_others_may_change_ends_the_next_start() -> anyhow::Result<()> {
    let service = Service::prepare()?;
    ensure!(service.install()?.code == Some(0));
    let folder = on_drive("ProgramData/cardbroker")?;
    set_mode(&folder, 0o777)?;
    control("start")?;
    let ended = service.wait_for_failure();
    set_mode(&folder, 0o700)?;
    ensure!(ended?.exit == 3);
    service.start()
}
