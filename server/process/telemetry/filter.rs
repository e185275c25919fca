//! The filter of the log: what the configuration asks for, and what an operator asks for on top of it for a time.

use tracing_subscriber::{
    EnvFilter,
    filter::{LevelFilter, ParseError},
};

use crate::{config::LogConfig, policy::audit, trace};

/// Libraries that log frames of connections: they stay at `error` unless the filter names them. At `warn` h2 has a line
/// for each connection that breaks its limits, so a client could flood the log.
const CHATTY: [&str; 5] = ["h2", "hyper", "hyper_util", "tonic", "tower"];

/// The beginning of all of Cardbroker's own targets.
const OWN: &str = "cardbroker";

/// The longest filter of an operator, in bytes.
const MAX_BYTES: usize = 256;

/// Returns the filter of a configuration.
///
/// # Errors
/// A directive has a mistake.
pub(super) fn configured(config: &LogConfig) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(directives(config).join(","))
}

fn directives(config: &LogConfig) -> Vec<String> {
    // Of two directives for one target the later one counts, so the operator's own wins.
    let mut directives = Vec::new();
    if let Some(base) = config.level.base() {
        let cap = base.min(LevelFilter::ERROR);
        directives.extend(CHATTY.iter().map(|target| format!("{target}={cap}")));
    }
    if config.apdus {
        directives.push(format!("{}=trace", trace::TARGET));
    }
    directives.extend(config.level.as_str().split(',').map(|directive| directive.trim().to_owned()));
    directives
}

/// Returns the filter of a configuration with `wanted` in force for Cardbroker's own targets: levels, and
/// `target=level` for targets that begin with `cardbroker`. The audit trail and the trace of APDUs stay as configured.
///
/// # Errors
/// The mistake in `wanted`, for people.
pub(super) fn changed(config: &LogConfig, wanted: &str) -> Result<EnvFilter, String> {
    if wanted.len() > MAX_BYTES || !wanted.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return Err(format!("at most {MAX_BYTES} printable ASCII characters"));
    }
    let mut own = Vec::new();
    for directive in wanted.split(',').map(str::trim) {
        let (target, level) = directive.split_once('=').unwrap_or((OWN, directive));
        let (target, level) = (target.trim(), level.trim());
        if level.is_empty() || level.parse::<LevelFilter>().is_err() {
            return Err(format!("`{level}` is no level: use off, error, warn, info, debug or trace"));
        }
        let is_own = target == OWN || target.starts_with("cardbroker_") || target.starts_with("cardbroker::");
        let is_kept =
            |kept: &str| target == kept || target.strip_prefix(kept).is_some_and(|rest| rest.starts_with(':'));
        if !is_own {
            return Err(format!("`{target}` is none of Cardbroker's own targets: they begin with cardbroker"));
        }
        if is_kept(audit::TARGET) || is_kept(trace::TARGET) {
            return Err(format!("`{target}` stays as configured: change log.level or log.apdus, and restart"));
        }
        own.push(format!("{target}={level}"));
    }
    let configured = directives(config);
    let is_others =
        |directive: &&String| directive.split_once('=').is_none_or(|(target, _)| !target.trim().starts_with(OWN));
    let mut directives: Vec<String> = configured.iter().filter(is_others).cloned().collect();
    for target in [audit::TARGET, trace::TARGET] {
        directives.push(format!("{target}={}", level_of(target, &configured)));
    }
    directives.extend(own);
    EnvFilter::builder().parse(directives.join(",")).map_err(|error| error.to_string())
}

/// The level that these directives give a target: that of the longest target that it begins with, or of those without a
/// target; of equally long ones the last counts.
fn level_of(target: &str, directives: &[String]) -> LevelFilter {
    let levels = directives.iter().filter_map(|directive| {
        let (beginning, level) = directive.split_once('=').unwrap_or(("", directive));
        let level = level.trim().parse().ok().filter(|_| target.starts_with(beginning.trim()))?;
        Some((beginning.trim().len(), level))
    });
    levels.fold((0, LevelFilter::OFF), |best, next| if next.0 >= best.0 { next } else { best }).1
}

#[cfg(test)]
mod tests {
    use tracing::{Level, enabled};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn with<T>(filter: EnvFilter, look: impl FnOnce() -> T) -> T {
        tracing::subscriber::with_default(tracing_subscriber::registry().with(filter), look)
    }

    fn config(level: &str, apdus: bool) -> LogConfig {
        LogConfig { level: level.parse().unwrap(), apdus, ..LogConfig::default() }
    }

    /// Whether debug lines of the broker, debug lines of h2 and warnings of h2 are logged.
    fn logged(level: &str) -> (bool, bool, bool) {
        with(configured(&config(level, false)).unwrap(), || {
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
            let filter = configured(&config(level, apdus)).unwrap();
            let logged = with(filter, || enabled!(target: trace::TARGET, Level::TRACE));
            assert_eq!(logged, expected, "{level} {apdus}");
        }
    }

    /// Whether units at debug, audit records at info, APDUs at trace, and h2 at warn are logged.
    fn after(level: &str, wanted: &str) -> [bool; 4] {
        with(changed(&config(level, false), wanted).unwrap(), || {
            [
                enabled!(target: "cardbroker::unit", Level::DEBUG),
                enabled!(target: "cardbroker::audit", Level::INFO),
                enabled!(target: "cardbroker::apdu", Level::TRACE),
                enabled!(target: "h2::codec", Level::WARN),
            ]
        })
    }

    #[test]
    fn an_operator_changes_own_targets_and_neither_audit_nor_apdus_nor_libraries() {
        assert_eq!(after("info", "trace"), [true, true, false, false]);
        assert_eq!(after("info", "off"), [false, true, false, false]);
        assert_eq!(after("info,h2=warn", "debug"), [true, true, false, true]);
        assert_eq!(after("info,cardbroker::unit=off", "debug"), [true, true, false, false]);
        assert_eq!(after("info,cardbroker::audit=off", "debug"), [true, false, false, false]);
        assert_eq!(after("warn", "info, cardbroker::unit=debug"), [true, false, false, false]);
        assert_eq!(after("cardbroker=info", "off"), [false, true, false, false]);
        assert_eq!(after("warn,cardbroker=info", "off"), [false, true, false, false]);
        assert_eq!(after("info,cardbroker::audit=off", "trace"), [true, false, false, false]);
    }

    #[test]
    fn a_filter_for_anything_else_is_refused_with_the_reason() {
        for (wanted, word) in [
            ("h2=debug", "none of Cardbroker's own targets"),
            ("cardbrokerx=debug", "none of Cardbroker's own targets"),
            ("cardbroker::audit=off", "stays as configured"),
            ("cardbroker::apdu=trace", "stays as configured"),
            ("loud", "`loud` is no level"),
            ("", "is no level"),
            ("info\n", "printable"),
        ] {
            let problem = changed(&config("info", false), wanted).unwrap_err();
            assert!(problem.contains(word), "{wanted}: {problem}");
        }
        assert!(changed(&config("info", false), &"debug,".repeat(50)).is_err());
    }
}
