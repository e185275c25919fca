//! The commands in the documents (blocks of `sh`), run as a reader would run them: by an ordinary user, with the built
//! programs, in an empty home, on simulated readers. Commands that install, or need root or hardware, stand in
//! [`ELSEWHERE`] with the reason.

use std::{
    fs,
    io::Read,
    os::unix::fs::chown,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cardbroker_checks::markdown::{Block, blocks};
use cardbroker_tests::harness::{
    LONGEST,
    broker::program,
    run::{run, wait},
    users::may_become_others,
};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

/// The top folder of the repository.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The programs that a reader has after `make install`.
const PROGRAMS: [&str; 2] = ["cardbrokerd", "cardbroker"];

/// Commands that this test does not run: their beginnings, the reason, and the file that covers them.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("make build", "compiles for minutes", "tests/checks/install.rs"),
    ("make check", "compiles for minutes", "Makefile"),
    ("cargo test ", "compiles for minutes", "Makefile"),
    ("sudo make install", "needs root", "tests/checks/install.rs"),
];

/// Commands that need the repository, with their replacements; `{programs}` is the folder of the built programs.
const INSTEAD: &[(&str, &str)] = &[("make demo", "client/rust/examples/demo.sh {programs}")];

/// Commands that run until they are killed. They must print something.
const ENDLESS: &[&str] = &["cardbroker watch"];

/// Options with which the daemon ends by itself.
const ONE_SHOT: &[&str] = &["--check-config", "--print-example-config", "--help", "--version", "policy check"];

/// A command, with its place in the document.
struct Line<'a> {
    path: &'a str,
    number: usize,
    command: String,
}

/// The commands of a block: its lines without comments; a line that ends with `\` continues on the next one.
fn commands<'a>(path: &'a str, block: &Block) -> Vec<Line<'a>> {
    let mut commands: Vec<Line<'a>> = Vec::new();
    let mut goes_on = false;
    for (index, line) in block.lines.iter().enumerate() {
        let line = line.split(" #").next().unwrap().trim();
        let (text, next_goes_on) = line.strip_suffix('\\').map_or((line, false), |text| (text.trim(), true));
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        match commands.last_mut().filter(|_| goes_on) {
            Some(last) => last.command += &format!(" {text}"),
            None => commands.push(Line { path, number: block.line + index, command: text.into() }),
        }
        goes_on = next_goes_on;
    }
    commands
}

/// The ordinary user that a run by root becomes: root's programs would write below /etc, outside the empty home.
const USER: u32 = 4242;

/// A reader of a document: an empty home, the programs in its path, and a broker, once one was started.
struct Person {
    home: TempDir,
    is_root: bool,
    broker: Option<Child>,
}

impl Person {
    fn new() -> anyhow::Result<Self> {
        let is_root = geteuid().is_root();
        ensure!(!is_root || may_become_others()?, "root must become an ordinary user here, and cannot");
        let home = tempfile::tempdir()?;
        for folder in ["bin", "run", "work"] {
            fs::create_dir(home.path().join(folder))?;
        }
        for name in PROGRAMS {
            // A copy: the user may not be let into the folder of the original.
            fs::copy(program(name)?, home.path().join("bin").join(name))?;
        }
        if is_root {
            for folder in ["", "run", "work"] {
                chown(home.path().join(folder), Some(USER), Some(USER))?;
            }
        }
        Ok(Self { home, is_root, broker: None })
    }

    /// A shell for one command, of an ordinary user whose home is empty.
    fn shell(&self, command: &str, folder: &Path) -> Command {
        let mut shell = Command::new(if self.is_root { "setpriv" } else { "sh" });
        if self.is_root {
            let ids = [format!("--reuid={USER}"), format!("--regid={USER}")];
            shell.args(ids).args(["--clear-groups", "sh"]);
        }
        self.settle(shell.args(["-c", command]).current_dir(folder));
        shell
    }

    /// Gives a command the environment of the empty home, and nothing else.
    fn settle(&self, command: &mut Command) {
        let home = self.home.path();
        let path = format!("{}:{}", home.join("bin").display(), std::env::var("PATH").unwrap_or_default());
        command.env_clear().env("PATH", path).env("HOME", home).env("XDG_RUNTIME_DIR", home.join("run"));
    }

    /// Runs one command, or its replacement from the tables. Returns the output; empty for a skipped command.
    fn enter(&mut self, command: &str) -> anyhow::Result<String> {
        let work = self.home.path().join("work");
        if ELSEWHERE.iter().any(|(elsewhere, ..)| command.starts_with(elsewhere)) {
            return Ok(String::new());
        }
        if let Some((_, instead)) = INSTEAD.iter().find(|(known, _)| *known == command) {
            let programs = program("cardbrokerd")?;
            let programs = programs.parent().context("no folder")?.display().to_string();
            // By the user of this test, who can read the repository.
            let mut shell = Command::new("sh");
            self.settle(shell.args(["-c", &instead.replace("{programs}", &programs)]).current_dir(ROOT));
            output(&mut shell)?;
            return Ok(String::new());
        }
        let name = command.split(' ').find(|word| !word.contains('='));
        ensure!(name.is_some_and(|name| PROGRAMS.contains(&name)), "neither one of {PROGRAMS:?} nor in ELSEWHERE");
        if name == Some("cardbrokerd") && !ONE_SHOT.iter().any(|flag| command.contains(flag)) {
            self.start(command, &work)?;
            return Ok(String::new());
        }
        // These commands read the configuration only, or write a token to a file.
        let needs_broker = name == Some("cardbroker") && !["policy", "token"].iter().any(|word| command.contains(word));
        if needs_broker && self.broker.is_none() {
            self.start("cardbrokerd", &work)?;
        }
        if ENDLESS.iter().any(|endless| command.starts_with(endless)) {
            return first_output(&mut self.shell(&format!("exec {command}"), &work));
        }
        output(&mut self.shell(command, &work))
    }

    /// Starts a broker in place of the previous one, on one simulated reader unless the command sets the number.
    fn start(&mut self, command: &str, folder: &Path) -> anyhow::Result<()> {
        self.stop()?;
        let simulate = if command.contains("--simulate") { "" } else { " --simulate 1" };
        let log = fs::File::create(self.home.path().join("log"))?;
        let mut shell = self.shell(&format!("exec {command}{simulate}"), folder);
        self.broker = Some(shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?);
        let deadline = Instant::now() + LONGEST;
        let is_ready = |text: anyhow::Result<String>| text.is_ok_and(|text| text.contains("READY"));
        while !is_ready(output(&mut self.shell("cardbroker readers", folder))) {
            let log = || fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
            ensure!(Instant::now() < deadline, "no reader is ready: {}", log());
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(mut broker) = self.broker.take() {
            kill_process(Pid::from_raw(i32::try_from(broker.id())?).context("no process")?, Signal::TERM)?;
            ensure!(wait(&mut broker, LONGEST)?.success(), "the broker has failed");
        }
        Ok(())
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        if let Some(broker) = &mut self.broker {
            // An error means that it has already ended.
            let _ = broker.kill();
            let _ = broker.wait();
        }
    }
}

/// Runs a command to its end, which must be successful.
fn output(shell: &mut Command) -> anyhow::Result<String> {
    let run = run(shell)?;
    ensure!(run.code == Some(0), "exit code {:?}: {}{}", run.code, run.out, run.err);
    Ok(run.out)
}

/// Runs a command until it prints something, then kills it.
fn first_output(shell: &mut Command) -> anyhow::Result<String> {
    let mut process = shell.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut output = process.stdout.take().context("no standard output")?;
    let mut bytes = [0; 1024];
    let read = output.read(&mut bytes);
    process.kill()?;
    process.wait()?;
    let length = read?;
    ensure!(length > 0, "it has printed nothing");
    Ok(String::from_utf8_lossy(&bytes[..length]).into())
}

/// The documents for users: at the top, and in docs/.
fn documents() -> anyhow::Result<Vec<(String, String)>> {
    let mut documents = Vec::new();
    for (folder, prefix) in [(ROOT.to_owned(), ""), (format!("{ROOT}/docs"), "docs/")] {
        // An excerpt of the repository may lack the folder.
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries {
            let (path, name) = (entry.as_ref().map(fs::DirEntry::path), entry.as_ref().map(fs::DirEntry::file_name));
            let (Ok(path), Ok(name)) = (path, name) else { continue };
            if path.extension().is_some_and(|extension| extension == "md") {
                documents.push((format!("{prefix}{}", name.display()), fs::read_to_string(path)?));
            }
        }
    }
    documents.sort();
    Ok(documents)
}

/// Runs all commands of a document, and compares each block of `text` after a block of `sh` with the output. Returns
/// the problems with their places.
fn follow(path: &str, text: &str) -> anyhow::Result<Vec<String>> {
    let mut person = Person::new()?;
    let mut problems = Vec::new();
    let mut printed: Option<(usize, String)> = None;
    for block in blocks(text) {
        if let Some((end, output)) = printed.take()
            && block.info == "text"
            && block.line == end + 3
            && !output.is_empty()
        {
            let missing = block.lines.iter().enumerate().find(|(_, line)| !output.contains(line.trim()));
            let problem = |(index, line)| format!("{path}:{}: `{line}` is not in\n{output}", block.line + index);
            problems.extend(missing.map(problem));
        }
        if block.info != "sh" {
            continue;
        }
        let mut output = String::new();
        for Line { path, number, command } in commands(path, &block) {
            match person.enter(&command) {
                Ok(text) => output += &text,
                Err(error) => problems.push(format!("{path}:{number}: `{command}`: {error:#}")),
            }
        }
        printed = Some((block.line + block.lines.len(), output));
    }
    person.stop()?;
    Ok(problems)
}

#[test]
fn the_commands_in_the_documents_work() -> anyhow::Result<()> {
    let documents = documents()?;
    assert!(documents.iter().any(|(path, _)| path == "README.md"));
    let mut problems = Vec::new();
    for (path, text) in &documents {
        problems.extend(follow(path, text)?);
    }
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
    Ok(())
}

#[test]
fn files_that_cover_the_other_commands_exist() {
    for (command, reason, place) in ELSEWHERE {
        assert!(Path::new(ROOT).join(place).exists(), "{command} ({reason}): {place}");
    }
}

#[test]
fn planted_commands_are_found() -> anyhow::Result<()> {
    let document =
        "```sh\ncardbroker readers  # good\ncardbroker \\\n  reader\nls\n```\n\n```text\nREADY\nNEVER\n```\n";
    let problems = follow("a.md", document)?;
    let places: Vec<_> = problems.iter().map(|problem| problem.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["a.md:3", "a.md:5", "a.md:10"], "{problems:?}");
    Ok(())
}
