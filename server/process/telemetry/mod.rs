//! The log: to standard error or to journald behind it, for people or for programs, by a thread of its own. That of a
//! service of Windows goes to the event log.
//!
//! ```text
//! tracing ── Log ──► lanes (bounded, the audit trail's first) ──► thread "log" ──► standard error, or journald
//! ```
//!
//! Nothing else writes to standard error while the broker runs: a write does not return while its reader is stuck.

mod control;
#[cfg(windows)]
mod event_log;
#[cfg(any(windows, test))]
mod event_record;
mod filter;
mod journald;
mod journald_record;
mod lanes;
mod record;
mod sink;
mod text;
mod writer;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::{self, IsTerminal, Write},
    panic,
    sync::mpsc,
    thread,
};

use tracing_subscriber::filter::ParseError;

#[cfg(windows)]
pub(super) use self::event_log::EVENT_SOURCE;
#[cfg(windows)]
use self::event_log::EventLog;
use self::{
    control::Replace,
    journald::Journald,
    lanes::Lane,
    sink::Stream,
    writer::{FLUSH_TIME, Log},
};
pub use self::{
    control::{FilterInForce, LogControl},
    writer::FlushGuard,
};
use crate::config::{LogConfig, LogFormat};

/// Why the log could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log filter has a mistake.
    #[error("the log filter cannot be used: {0}")]
    Filter(#[from] ParseError),
    /// The system cannot start the log's thread.
    #[error("the log cannot be written: {0}")]
    Thread(#[from] io::Error),
    /// The process has installed a log already.
    #[error("the log cannot be installed: {0}")]
    Install(#[from] Box<dyn std::error::Error + Send + Sync>),
}

/// Installs the log of this process, once. Panics become records of it. Returns a guard, to be dropped at the end of
/// the process, and the control of the log.
///
/// # Errors
/// The filter has a mistake, the process has a log already, or the system cannot start a thread.
pub fn init(config: &LogConfig) -> Result<(FlushGuard, LogControl), TelemetryError> {
    let filter = filter::configured(config)?;
    let (log, format) = start(config.format)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(log.clone())
        // Errors of the log itself must not bypass it on standard error.
        .log_internal_errors(false);
    let replace: Box<Replace> = match format {
        LogFormat::Text => {
            let builder = builder.fmt_fields(text::Fields).compact().with_ansi(io::stderr().is_terminal());
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            builder.try_init()?;
            Box::new(move |next| handle.reload(next))
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.try_init()?;
            Box::new(move |next| handle.reload(next))
        }
    };
    let is_for_person = format == LogFormat::Text && io::stderr().is_terminal();
    let control = LogControl::new(log.clone(), config.clone(), replace, is_for_person);
    let guard = log.flush_guard();
    log_panics(log, format);
    Ok((guard, control))
}

/// Starts the log of this process where it belongs. Returns the form of its lines.
fn start(format: LogFormat) -> io::Result<(Log, LogFormat)> {
    // The records of both are made from lines for programs.
    #[cfg(windows)]
    if let Some(events) = EventLog::of_service() {
        return Ok((Log::start(events)?, LogFormat::Json));
    }
    match Journald::behind_standard_error(format) {
        Some(journald) => Ok((Log::start(journald)?, LogFormat::Json)),
        None => Ok((Log::start(Stream::new(io::stderr(), format))?, format)),
    }
}

/// Reports the cause of the process's end on standard error, for a service of Windows in the event log. Waits for the
/// reader of standard error no longer than the log does.
pub fn report_end(problem: &dyn std::error::Error) {
    #[cfg(windows)]
    if let Some(events) = EventLog::of_service() {
        return events.report(&problem.to_string());
    }
    report(problem.to_string());
}

/// Writes a line to standard error, for a process that writes no log. Waits no longer than [`report_end`].
pub fn report(line: impl std::fmt::Display) {
    let line = format!("cardbrokerd: {line}\n");
    let (done, ended) = mpsc::channel();
    let writer = thread::Builder::new().name("end".into()).spawn(move || {
        // If standard error is closed, the exit code remains.
        let _ = io::stderr().write_all(line.as_bytes());
        drop(done);
    });
    if writer.is_ok() {
        // Returns when `done` is dropped.
        let _: Result<(), _> = ended.recv_timeout(FLUSH_TIME);
    }
}

/// Writes panics into the log with every filter, instead of to standard error, which could block the thread. They use
/// the audit lane, which is dropped last: a panic is rare, and the fault may not occur a second time.
fn log_panics(log: Log, format: LogFormat) {
    panic::set_hook(Box::new(move |panic| {
        let thread = thread::current();
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload().downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.payload().downcast_ref().map(String::as_str));
        let problem = text.unwrap_or("the panic has no text");
        // RUST_BACKTRACE decides whether it is captured.
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        let name = thread.name().unwrap_or_default();
        let line = record::panic(format, name, &location, problem, backtrace.as_deref());
        log.push_from_panic(Lane::Audit, line.as_bytes());
    }));
}
