//! The steps before the server starts: runtime, first line of the log, card stack, tokens and policy.

use std::{io, mem, process, sync::Arc};

use cardbroker_core::policy::Policy;
use tokio::runtime::{Builder, Runtime};
use tracing::{info, warn};

use crate::{
    backend::{
        Backend,
        pcsc::Pcsc,
        simulated::{Simulated, TraceFileError},
    },
    caller::tokens::{Tokens, TokensError},
    config::{Config, TcpPort},
    policy::accounts::own_user,
    process::random::fresh_id,
};

/// Builds the runtime of a server: one thread for all non-blocking work. It has measured faster than a pool, because a
/// hop between threads costs more than the work behind it; cards have threads of their own. It polls for I/O after
/// every few tasks, so that a client with very many requests delays the others less.
///
/// # Errors
/// The system has no file descriptors left.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().event_interval(8).enable_all().build()
}

/// Writes the first line of the log: version, process and settings. Returns the epoch, which is unique to
/// this run.
///
/// # Errors
/// The system has no random bytes.
pub fn announce(config: &Config) -> io::Result<String> {
    let epoch = fresh_id()?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        epoch,
        pid = process::id(),
        config = config.source.as_ref().map(|source| tracing::field::display(source.path.display())),
        backend = if config.readers.is_simulated() { "simulated" } else { "pcsc" },
        replays = config.readers.simulate_from.as_ref().map(|path| tracing::field::display(path.display())),
        "starting"
    );
    if config.log.apdus {
        warn!("log.apdus is on: the log shows headers of commands, and status words");
    }
    Ok(epoch)
}

/// Returns the card stack of the configuration. Reads the trace that is to be replayed, if any, and nothing else.
///
/// # Errors
/// [`TraceFileError`] if that trace cannot be used.
pub fn backend(config: &Config) -> Result<Arc<dyn Backend>, TraceFileError> {
    Ok(match (&config.readers.simulate_from, config.readers.simulate) {
        (Some(trace), _) => Arc::new(Simulated::replaying(trace)?),
        (None, 0) => Arc::new(Pcsc::default()),
        (None, count) => Arc::new(Simulated::new(count)),
    })
}

/// Builds the policy from the rules, which it takes out of the configuration, and from the tokens if there is a TCP
/// port.
pub fn policy(config: &mut Config, tokens: &Tokens) -> Policy {
    let policy = Policy::new(mem::take(&mut config.rules), own_user());
    if config.listen.tcp.is_some() { policy.with_tokens(tokens.ids()) } else { policy }
}

/// Reads the tokens file of the configuration. Returns no tokens without a TCP port. With `--tcp auto` there may be no
/// such file.
///
/// # Errors
/// The errors of [`Tokens::read`].
pub fn load_tokens(config: &Config) -> Result<Tokens, TokensError> {
    let Some(port) = config.listen.tcp else { return Ok(Tokens::default()) };
    missing_means_none(Tokens::read(&config.listen.tokens), port)
}

/// Builds the policy that a question is about, for a caller with the token of this name or without one. The names of
/// the tokens count for such a caller alone; where no port is configured, one may be inherited. Returns with it a line
/// for people if it is not known whether there is such a token.
///
/// # Errors
/// The errors of [`Tokens::read_to_explain`], if a port is configured.
pub fn policy_to_explain(config: &mut Config, token: Option<&str>) -> Result<(Policy, Option<String>), TokensError> {
    let policy = Policy::new(mem::take(&mut config.rules), own_user());
    let Some(token) = token else { return Ok((policy, None)) };
    let read = Tokens::read_to_explain(&config.listen.tokens);
    match (config.listen.tcp, read) {
        (None, Err(problem)) => {
            Ok((policy, Some(format!("note: not checked whether there is a token {token}: {problem}"))))
        }
        (None, Ok(tokens)) => Ok((policy.with_tokens(tokens.ids()), None)),
        (Some(port), read) => Ok((policy.with_tokens(missing_means_none(read, port)?.ids()), None)),
    }
}

/// The tokens of a tokens file. With `--tcp auto` a missing file means that there are none.
pub(super) fn missing_means_none(read: Result<Tokens, TokensError>, port: TcpPort) -> Result<Tokens, TokensError> {
    match read {
        Err(problem) if port == TcpPort::Auto && problem.is_missing() => Ok(Tokens::default()),
        read => read,
    }
}
