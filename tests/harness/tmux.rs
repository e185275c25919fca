//! A person's terminal: tmux, with a server of its own, and a shell in it.

use std::{
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cardbroker_proto::ENDPOINT_VARIABLE;
use rustix::process::Pid;
use tempfile::TempDir;

use super::{
    LONGEST,
    builds::program,
    run::{Run, run},
};

/// The time between two looks at the screen.
const PAUSE: Duration = Duration::from_millis(20);

/// A terminal with a shell. Dropping it ends both.
pub struct Tmux {
    folder: TempDir,
}

impl Tmux {
    /// Opens a terminal of this size, in which `cardbroker` is the command line with the broker at `endpoint`.
    ///
    /// # Errors
    /// tmux cannot be started, or the command line cannot be built.
    pub fn open(endpoint: &str, columns: u16, rows: u16) -> anyhow::Result<Self> {
        let programs = program("cardbroker")?;
        let programs = programs.parent().context("a program without a folder")?;
        let tmux = Self { folder: tempfile::Builder::new().prefix("tmux-").tempdir()? };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let mut start = tmux.command();
        start.args(["new-session", "-d", "-x", &columns, "-y", &rows, "env", "-u", "NO_COLOR", "-u", "ENV"]);
        start.arg(format!("{ENDPOINT_VARIABLE}={endpoint}")).arg(path_with(programs)).args(["PS1=shell> ", "sh"]);
        let started = run(&mut start)?;
        ensure!(started.code == Some(0), "{started:?}");
        tmux.shows("shell>")?;
        Ok(tmux)
    }

    /// Presses keys by tmux's names (`Enter`, `C-z`), or types a text of one word.
    ///
    /// # Errors
    /// The terminal has ended.
    pub fn press(&self, keys: &[&str]) -> anyhow::Result<()> {
        self.run(&[&["send-keys"], keys].concat()).map(drop)
    }

    /// Types a line, and Enter.
    ///
    /// # Errors
    /// The terminal has ended.
    pub fn enter(&self, line: &str) -> anyhow::Result<()> {
        self.run(&["send-keys", "-l", line])?;
        self.press(&["Enter"])
    }

    /// The screen as text.
    ///
    /// # Errors
    /// The terminal has ended.
    pub fn screen(&self) -> anyhow::Result<String> {
        Ok(self.run(&["capture-pane", "-p", "-J"])?.out)
    }

    /// Waits until the screen contains a text; returns the screen.
    ///
    /// # Errors
    /// It does not within 30 s; the error has the screen.
    pub fn shows(&self, text: &str) -> anyhow::Result<String> {
        self.wait_until(text, |screen| screen.contains(text))
    }

    /// Waits until the screen fits `wished`, which `what` describes; returns the screen.
    ///
    /// # Errors
    /// It does not within 30 s; the error has the screen.
    pub fn wait_until(&self, what: &str, wished: impl Fn(&str) -> bool) -> anyhow::Result<String> {
        let deadline = Instant::now() + LONGEST;
        loop {
            let screen = self.screen()?;
            if wished(&screen) {
                return Ok(screen);
            }
            ensure!(Instant::now() < deadline, "the screen never shows {what}:\n{screen}");
            thread::sleep(PAUSE);
        }
    }

    /// Whether a program shows the full screen, instead of the lines of the shell.
    ///
    /// # Errors
    /// The terminal has ended.
    pub fn is_full_screen(&self) -> anyhow::Result<bool> {
        Ok(self.value("#{alternate_on}")? == "1")
    }

    /// Whether the terminal shows its cursor.
    ///
    /// # Errors
    /// The terminal has ended.
    pub fn has_cursor(&self) -> anyhow::Result<bool> {
        Ok(self.value("#{cursor_flag}")? == "1")
    }

    /// The process that the shell runs.
    ///
    /// # Errors
    /// There is none, or several.
    pub fn child(&self) -> anyhow::Result<Pid> {
        let children = run(Command::new("pgrep").args(["-P", &self.value("#{pane_pid}")?]))?;
        Pid::from_raw(children.out.trim().parse().with_context(|| format!("{children:?}"))?).context("no process")
    }

    /// A value of tmux, by its format.
    fn value(&self, format: &str) -> anyhow::Result<String> {
        Ok(self.run(&["display-message", "-p", format])?.out.trim_end().to_owned())
    }

    fn run(&self, arguments: &[&str]) -> anyhow::Result<Run> {
        let run = run(self.command().args(arguments))?;
        ensure!(run.code == Some(0), "tmux {arguments:?}: {run:?}");
        Ok(run)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(self.folder.path().join("socket")).args(["-f", "/dev/null", "-u"]);
        command.env_remove("TMUX").env("TERM", "xterm-256color");
        command
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // An error means that it has already ended.
        let _ = run(self.command().arg("kill-server"));
    }
}

/// The variable PATH with a folder in front, for `env`.
fn path_with(folder: &Path) -> String {
    format!("PATH={}:{}", folder.display(), std::env::var("PATH").unwrap_or_default())
}
