//! The signals that `exec` passes on to its program.

use std::{io, thread};

use nix::{
    errno::Errno,
    sys::{
        signal::{SigSet, SigmaskHow, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::{getpid, getsid},
};
use tokio::sync::mpsc;

/// The signals by which others control a program. Those that stop and continue it concern both processes.
const PASSED_ON: [Signal; 6] =
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2];

/// The value of `si_code` for signals of the terminal, which go to the program, too.
const FROM_KERNEL: i32 = 0x80;

/// The signals of this process, which do not end it any more.
pub(super) struct Signals {
    received: mpsc::Receiver<Received>,
    /// The signal mask of this process before, which is the program's.
    pub(super) mask: SigSet,
}

/// A signal, and whether the program gets it by itself.
struct Received {
    signal: Signal,
    is_of_terminal: bool,
}

impl Signals {
    /// Takes the signals of this thread, and of those that it starts from now on.
    ///
    /// # Errors
    /// The system gives no signals.
    pub(super) fn block() -> io::Result<Self> {
        let set: SigSet = PASSED_ON.into_iter().collect();
        let mask = set.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)?;
        let (sender, received) = mpsc::channel(8);
        // It ends with the process.
        thread::Builder::new().name("signals".into()).spawn(move || {
            loop {
                let info = match signals.read_signal() {
                    Ok(Some(info)) => info,
                    Ok(None) | Err(Errno::EINTR) => continue,
                    Err(_) => return,
                };
                let Ok(signal) = Signal::try_from(info.ssi_signo.cast_signed()) else { continue };
                let is_of_terminal = info.ssi_code == FROM_KERNEL && !is_hangup_of_leader(signal);
                if sender.blocking_send(Received { signal, is_of_terminal }).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { received, mask })
    }

    /// The next signal to pass on; pending if there are no more. Cancel-safe.
    pub(super) async fn next(&mut self) -> Signal {
        loop {
            match self.received.recv().await {
                Some(Received { signal, is_of_terminal: false }) => return signal,
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Waits for any signal: before the program runs, each of them ends this one. Cancel-safe.
    pub(super) async fn any(&mut self) {
        if self.received.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

/// Whether the kernel sends the signal to this process alone: the hangup of a terminal goes to the leader of the
/// session only, which `ssh -t HOST 'cardbroker exec …'` makes of this process.
fn is_hangup_of_leader(signal: Signal) -> bool {
    signal == Signal::SIGHUP && getsid(None) == Ok(getpid())
}
