//! A reload: the rules and tokens in force after configuration and tokens file were read again.

mod plan;

use std::{mem, path::PathBuf, time::Instant};

use cardbroker_core::policy::Policy;
use tokio::task::{JoinError, JoinSet};
use tracing::{error, warn};

use self::plan::{Cause, Plan, TokensAction, TokensRead};
use super::{Server, preparation::missing_means_none};
use crate::{
    caller::tokens::{Tokens, TokensError},
    config::{Config, ConfigError, ReloadEnd, Source, TcpPort},
    policy::{accounts::own_user, audit},
    process::timer::until,
};

/// Reads configuration and tokens file again, one reading at a time, in a thread of its own: looking up users may take
/// time.
pub(super) struct Reloads<F> {
    /// Reads the configuration, with its rules.
    settings: F,
    plan: Plan,
    /// The reading under way, at most one.
    reading: JoinSet<Reading>,
    /// The port, which is decided at the start, and the tokens file that counts for it, as the last readable
    /// configuration names it; `None` without a port.
    tokens_file: Option<(TcpPort, PathBuf)>,
}

/// The results of a reading. A readable configuration names the tokens file.
pub(super) struct Reading {
    /// `None` if only the tokens were read.
    config: Option<Result<Config, ConfigError>>,
    tokens: Result<Tokens, TokensError>,
}

impl<F: Fn() -> Result<Config, ConfigError> + Clone + Send + 'static> Reloads<F> {
    /// Prepares readings by `settings` for a server that has started with `config`.
    pub(super) fn new(settings: F, config: &Config) -> Self {
        let tokens_file = config.listen.tcp.map(|port| (port, config.listen.tokens.clone()));
        Self { settings, plan: Plan::default(), reading: JoinSet::new(), tokens_file }
    }

    /// Records that the server has started without a usable tokens file, which is read again soon.
    pub(super) fn on_unusable_start(&mut self, problem: &TokensError) {
        self.plan.on_unusable_start(now());
        tell_unusable(problem);
    }

    /// Records that a signal asks for a reading.
    pub(super) fn on_signal(&mut self) {
        self.plan.on_signal();
    }

    /// Waits for the end of a reading, which begins when one is due. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Reading, JoinError> {
        loop {
            if let Some(cause) = self.plan.begin(now()) {
                let (settings, tokens_file) = (self.settings.clone(), self.tokens_file.clone());
                self.reading.spawn_blocking(move || read(cause, settings, tokens_file));
            }
            let due = self.plan.due();
            tokio::select! {
                Some(read) = self.reading.join_next() => return read,
                () = until(due) => {}
            }
        }
    }
}

fn tell_unusable(problem: &TokensError) {
    error!("no token is valid, and sessions of their holders end, until the tokens file is usable: {problem}");
    audit::tokens_unusable(problem);
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn read(
    cause: Cause,
    settings: impl Fn() -> Result<Config, ConfigError>,
    tokens_file: Option<(TcpPort, PathBuf)>,
) -> Reading {
    let config = (cause == Cause::Signal).then(settings);
    let tokens = tokens_file.map_or_else(
        || Ok(Tokens::default()),
        |(port, last)| {
            let named = config.as_ref().and_then(|config| Some(&config.as_ref().ok()?.listen.tokens));
            missing_means_none(Tokens::read(named.unwrap_or(&last)), port)
        },
    );
    Reading { config, tokens }
}

impl Server {
    /// Puts new rules and new tokens in force, each if it can be read. A malformed tokens file refuses the new rules,
    /// too; but a token that the tokens file does not name any more is revoked in any case. Returns whether this
    /// answers all signals so far.
    pub(super) fn reload<F>(&self, read: Result<Reading, JoinError>, reloads: &mut Reloads<F>) -> bool {
        let Reading { config, tokens } = read.unwrap_or_else(|panic| {
            error!("reading the configuration failed ({panic}): restart the broker and report the fault");
            let path = reloads.tokens_file.as_ref().map(|(_, path)| path.clone()).unwrap_or_default();
            Reading { config: None, tokens: Err(TokensError::Passing { path, source: panic.into() }) }
        });
        if let (Some(Ok(config)), Some((_, path))) = (&config, &mut reloads.tokens_file) {
            path.clone_from(&config.listen.tokens);
        }
        let is_answer = reloads.plan.answers_signals();
        let found = match &tokens {
            Ok(_) => TokensRead::Good,
            Err(TokensError::Invalid { .. }) => TokensRead::Malformed,
            Err(TokensError::File { .. }) => TokensRead::Unusable,
            Err(TokensError::Passing { .. }) => TokensRead::Failed,
        };
        let action = reloads.plan.on_read(found, now());
        let problem = self.reload_tokens(action, tokens);
        match (config, problem) {
            (Some(Ok(_)), Some(problem)) if !found.admits_rules() => {
                audit::reload_refused(&problem);
                self.on_reloaded(Err(&problem));
            }
            (config, problem) => {
                if let Some(problem) = &problem {
                    audit::tokens_refused(problem);
                }
                if let Some(config) = config {
                    self.reload_rules(config);
                } else if let Some(problem) = &problem {
                    self.on_reloaded(Err(problem));
                }
            }
        }
        is_answer
    }

    /// Records the end of a reload for operators: the file in force, or why it was refused.
    fn on_reloaded(&self, outcome: Result<Option<Source>, &dyn std::error::Error>) {
        self.config_in_force.send_modify(|in_force| {
            let problem = outcome.as_ref().err().map(ToString::to_string);
            in_force.last_reload = Some(ReloadEnd { at: now(), problem });
            if let Ok(source) = outcome {
                in_force.source = source;
            }
        });
    }

    /// Does what the plan has decided. Returns the mistake of a malformed tokens file that is to be told.
    fn reload_tokens(&self, action: TokensAction, tokens: Result<Tokens, TokensError>) -> Option<TokensError> {
        match (action, tokens) {
            (TokensAction::Accept { again }, Ok(tokens)) => {
                self.set_tokens(tokens);
                if again {
                    audit::tokens_usable();
                }
            }
            (TokensAction::Restrict, Err(problem)) => {
                if let TokensError::Invalid { readable, .. } = &problem {
                    let retained = self.tokens.borrow().retained(readable);
                    self.set_tokens(retained);
                }
                return Some(problem);
            }
            (TokensAction::RevokeAll, Err(problem)) => {
                self.set_tokens(Tokens::default());
                tell_unusable(&problem);
            }
            (TokensAction::Warn, Err(problem)) => {
                warn!("all tokens stay as they are, and their file is read again soon: {problem}");
            }
            _ => {}
        }
        None
    }

    fn reload_rules(&self, config: Result<Config, ConfigError>) {
        match config {
            Ok(mut config) => {
                let rules = mem::take(&mut config.rules);
                let source = mem::replace(&mut config.source, self.config.source.clone());
                if config != self.config {
                    warn!("some changed settings take effect at the next start; the new rules are in force");
                }
                let count = rules.len();
                self.broker.set_policy(self.with_valid_tokens(Policy::new(rules, own_user())));
                audit::reloaded(count);
                self.on_reloaded(Ok(source));
            }
            Err(problem) => {
                audit::reload_refused(&problem);
                self.on_reloaded(Err(&problem));
            }
        }
    }

    /// Puts these tokens in force. The rules stay.
    fn set_tokens(&self, tokens: Tokens) {
        self.tokens.send_replace(tokens);
        let rules = Policy::clone(&self.broker.policy().borrow());
        self.broker.set_policy(self.with_valid_tokens(rules));
    }

    /// The policy for the tokens in force. Without a TCP port there are none.
    fn with_valid_tokens(&self, policy: Policy) -> Policy {
        match self.config.listen.tcp {
            Some(_) => policy.with_tokens(self.tokens.borrow().ids()),
            None => policy,
        }
    }
}
