//! The ends of a program from outside: Ctrl-C, SIGTERM, and the end of the program that reads the output.

use std::{future::Future, io};

use cardbroker_client::Delivery;

use crate::Failure;

/// Completes at Ctrl-C or SIGTERM. From the first call on, neither ends the process by itself.
///
/// # Errors
/// If the system gives no signals.
pub(crate) async fn signal() -> io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            pressed = tokio::signal::ctrl_c() => pressed,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

/// Completes at Ctrl-C or SIGTERM, and when nobody reads standard output any more, if it is a pipe or a socket: for
/// commands that print until they are ended.
///
/// # Errors
/// If the system gives no signals; a broken pipe if standard output is closed.
pub(crate) async fn signal_or_closed_output() -> Result<(), Failure> {
    tokio::select! {
        biased;
        ended = signal() => Ok(ended?),
        () = closed_output() => Err(io::Error::from(io::ErrorKind::BrokenPipe).into()),
    }
}

/// Runs a part of a command in which nothing is sent to a card.
///
/// # Errors
/// [`Failure::Interrupted`] at Ctrl-C or SIGTERM, not sent.
pub(crate) async fn before_sending<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::select! {
        biased;
        ended = signal() => Err(ended.map_or_else(Failure::from, |()| Failure::Interrupted(Delivery::NotSent))),
        done = work => done,
    }
}

/// Waits for the outcome of a request that may send something to a card.
///
/// # Errors
/// [`Failure::Interrupted`] at Ctrl-C or SIGTERM: it is unknown whether a command ran.
pub(crate) async fn while_sending<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::select! {
        biased;
        ended = signal() => Err(ended.map_or_else(Failure::from, |()| Failure::Interrupted(Delivery::Unknown))),
        done = work => Ok(done),
    }
}

/// Completes when the other end of standard output is closed; never for a file or a terminal.
#[cfg(target_os = "linux")]
async fn closed_output() {
    use std::{future::pending, os::fd::AsFd};

    use tokio::{io::Interest, net::unix::pipe::Sender};

    // Unchecked: a check would make the output non-blocking for all programs that share it.
    let watched = io::stdout().as_fd().try_clone_to_owned().and_then(Sender::from_owned_fd_unchecked);
    // A file has no such event; without one the next line finds out.
    match watched {
        Ok(output) if output.ready(Interest::ERROR).await.is_ok() => {}
        _ => pending().await,
    }
}

#[cfg(not(target_os = "linux"))]
async fn closed_output() {
    std::future::pending().await
}
