//! When to stop: the signals that ask a daemon to end.

/// Waits for SIGTERM or SIGINT (Ctrl-C).
///
/// # Errors
/// If the system does not deliver signals to this process.
#[cfg(unix)]
pub fn stop_requested() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
