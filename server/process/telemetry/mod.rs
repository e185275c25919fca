//! The log: to standard error, for people or for programs, by a thread of its own.
//!
//! ```text
//! tracing ── Log ──► lanes (bounded, the audit trail's first) ──► thread "log" ──► standard error
//! ```
//!
//! Nothing else writes to standard error while the broker runs: a write does not return while its reader is stuck.

mod lanes;
mod record;
mod sink;
mod writer;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::{self, IsTerminal, Write},
    panic,
    sync::mpsc,
    thread,
};

use tracing_subscriber::{
    EnvFilter,
    filter::{LevelFilter, ParseError},
};

pub use self::writer::FlushGuard;
use self::{
    lanes::Lane,
    writer::{FLUSH_TIME, Log},
};
use crate::{
    backend::traced,
    config::{LogConfig, LogFormat},
};

/// Libraries that log frames of connections: they stay at `error` unless the filter names them. At `warn` h2 has a line
/// for each connection that breaks its limits, so a client could flood the log.
const CHATTY: [&str; 5] = ["h2", "hyper", "hyper_util", "tonic", "tower"];

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

/// Installs the log of this process, once. Panics become records of it. Returns a guard; drop it at the end of the
/// process.
///
/// # Errors
/// The filter has a mistake, the process has a log already, or the system cannot start a thread.
pub fn init(config: &LogConfig) -> Result<FlushGuard, TelemetryError> {
    let filter = filter(config)?;
    let log = Log::start(io::stderr(), config.format)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(log.clone())
        // Errors of the log itself must not bypass it on standard error.
        .log_internal_errors(false);
    match config.format {
        LogFormat::Text => builder.compact().with_ansi(io::stderr().is_terminal()).try_init()?,
        LogFormat::Json => builder.json().flatten_event(true).try_init()?,
    }
    let guard = log.flush_guard();
    log_panics(log, config.format);
    Ok(guard)
}

/// Reports the cause of the process's end on standard error. Waits for the reader of standard error no longer than the
/// log does.
pub fn report_end(problem: &dyn std::error::Error) {
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

fn filter(config: &LogConfig) -> Result<EnvFilter, ParseError> {
    // Of two directives for one target the later one counts, so the operator's own wins.
    let mut directives = Vec::new();
    if let Some(base) = config.level.base() {
        let cap = base.min(LevelFilter::ERROR);
        directives.extend(CHATTY.iter().map(|target| format!("{target}={cap}")));
    }
    if config.apdus {
        directives.push(format!("{}=trace", traced::TARGET));
    }
    directives.push(config.level.as_str().into());
    EnvFilter::builder().parse(directives.join(","))
}

#[cfg(test)]
mod tests {
    use tracing::{Level, enabled};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn with<T>(config: &LogConfig, look: impl FnOnce() -> T) -> T {
        let subscriber = tracing_subscriber::registry().with(filter(config).unwrap());
        tracing::subscriber::with_default(subscriber, look)
    }

    /// Whether debug lines of the broker, debug lines of h2 and warnings of h2 are logged.
    fn logged(level: &str) -> (bool, bool, bool) {
        with(&LogConfig { level: level.parse().unwrap(), ..LogConfig::default() }, || {
            (
                enabled!(target: "cardbroker_server", Level::DEBUG),
                enabled!(target: "h2::codec", Level::DEBUG),
                enabled!(target: "h2::codec", Level::WARN),
            )
        })
    }

    #[test]
    fn libraries_stay_at_error_unless_named() {
        assert_eq!(logged("info"), (false, false, false));
        assert_eq!(logged("trace"), (true, false, false));
        assert_eq!(logged("debug,h2=debug"), (true, true, true));
        assert_eq!(logged("h2=debug,info"), (false, true, true));
        assert_eq!(logged("off"), (false, false, false));
        assert_eq!(logged("cardbroker_server=debug"), (true, false, false));
    }

    #[test]
    fn one_key_switches_the_apdu_trace_on_at_every_level() {
        for (level, apdus, expected) in [
            ("off", true, true),
            ("info", true, true),
            ("cardbroker_server=debug", true, true),
            ("info,cardbroker::apdu=off", true, false),
            ("info", false, false),
        ] {
            let config = LogConfig { level: level.parse().unwrap(), apdus, ..LogConfig::default() };
            let logged = with(&config, || enabled!(target: traced::TARGET, Level::TRACE));
            assert_eq!(logged, expected, "{level} {apdus}");
        }
    }
}
