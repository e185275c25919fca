//! The log: to standard error, for people or for programs.

use std::io::{self, IsTerminal};

use tracing_subscriber::{
    EnvFilter,
    filter::{LevelFilter, ParseError},
};

use crate::{
    backend::traced,
    config::{LogConfig, LogFormat},
};

/// Libraries that tell every frame of every connection: they stay at `warn` unless they are named.
const CHATTY: [&str; 5] = ["h2", "hyper", "hyper_util", "tonic", "tower"];

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be used.
    #[error("the log filter cannot be used: {0}")]
    Filter(#[from] ParseError),
    /// The process has a log already.
    #[error("the log cannot be installed: {0}")]
    Install(#[from] Box<dyn std::error::Error + Send + Sync>),
}

/// Installs the log of this process, once.
///
/// # Errors
/// When the process has one already.
pub fn init(config: &LogConfig) -> Result<(), TelemetryError> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(config)?)
        .with_writer(io::stderr)
        // Whoever read the log may have gone. Complaining about that on standard error again would panic.
        .log_internal_errors(false);
    match config.format {
        LogFormat::Text => builder.compact().with_ansi(io::stderr().is_terminal()).try_init()?,
        LogFormat::Json => builder.json().flatten_event(true).try_init()?,
    }
    Ok(())
}

fn filter(config: &LogConfig) -> Result<EnvFilter, ParseError> {
    // Of two directives for one target the later counts: what the operator names wins.
    let mut directives = Vec::new();
    if let Some(base) = config.level.base() {
        let cap = base.min(LevelFilter::WARN);
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

    /// Whether (our debug, h2's debug, h2's warnings) are logged.
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
    fn libraries_stay_at_warn_unless_named() {
        assert_eq!(logged("info"), (false, false, true));
        assert_eq!(logged("trace"), (true, false, true));
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
