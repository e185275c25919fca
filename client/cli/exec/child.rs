//! The program that `exec` runs.

use std::{
    env,
    ffi::{CString, OsStr, OsString},
    io,
    os::unix::ffi::OsStringExt,
    thread,
};

use nix::{
    errno::Errno,
    spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp},
    sys::{
        signal::{SigSet, Signal, kill},
        wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid},
    },
    unistd::Pid,
};
use tokio::sync::oneshot;

/// The exit code of shells for a program that a signal has ended, without the number of the signal.
const BY_SIGNAL: i32 = 128;

/// A program that runs, until its end was waited for.
pub(super) struct Child {
    id: Pid,
    ended: oneshot::Receiver<()>,
}

impl Child {
    /// Starts a program with these variables besides those of this process, and with the signal mask `mask`: with the
    /// standard library it would start with the mask of this thread.
    ///
    /// # Errors
    /// The program cannot be run.
    pub(super) fn spawn(program: &[OsString], variables: &[(&str, &OsStr)], mask: &SigSet) -> io::Result<Self> {
        let inherited = env::vars_os().filter(|(name, _)| variables.iter().all(|(new, _)| name != new));
        let new = variables.iter().map(|(name, value)| (OsString::from(name), value.to_os_string()));
        let assignment = |(mut name, value): (OsString, OsString)| {
            name.push("=");
            name.push(value);
            text(name)
        };
        let environment = inherited.chain(new).map(assignment).collect::<io::Result<Vec<_>>>()?;
        let words = program.iter().cloned().map(text).collect::<io::Result<Vec<_>>>()?;
        let name = words.first().ok_or(io::ErrorKind::InvalidInput)?;

        let mut attributes = PosixSpawnAttr::init()?;
        attributes.set_flags(PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF)?;
        attributes.set_sigmask(mask)?;
        // Rust ignores it, and an ignored signal is inherited.
        attributes.set_sigdefault(&Signal::SIGPIPE.into())?;
        let id = posix_spawnp(name, &PosixSpawnFileActions::init()?, &attributes, &words, &environment)?;

        let (sender, ended) = oneshot::channel();
        thread::Builder::new().name("child".into()).spawn(move || {
            // The process keeps its number until its end is collected, so that no signal goes to another one.
            while waitid(Id::Pid(id), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
            let _ = sender.send(());
        })?;
        Ok(Self { id, ended })
    }

    /// Waits for the end of the program. Returns its exit code as a shell tells it. Cancel-safe, and not to be called
    /// again after that.
    pub(super) async fn wait(&mut self) -> io::Result<i32> {
        let _ = (&mut self.ended).await;
        Ok(match waitpid(self.id, None)? {
            WaitStatus::Exited(_, code) => code,
            WaitStatus::Signaled(_, signal, _) => BY_SIGNAL + signal as i32,
            _ => 1,
        })
    }

    /// Sends a signal to the program.
    pub(super) fn send(&self, signal: Signal) {
        // An error means that the program has just ended.
        let _ = kill(self.id, signal);
    }
}

fn text(text: OsString) -> io::Result<CString> {
    CString::new(text.into_vec()).map_err(io::Error::from)
}
