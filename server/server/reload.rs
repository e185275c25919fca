//! A reload: the rules and tokens in force after configuration and tokens file were read again, by a signal or by an
//! operator's request.

mod plan;
#[cfg(test)]
mod tests;

use std::{
    mem,
    path::{Path, PathBuf},
    time::Instant,
};

use cardbroker_core::policy::Policy;
use tokio::task::{JoinError, JoinSet};
use tracing::{error, info, warn};

use self::plan::{Cause, Plan, TokensAction, TokensRead};
use super::{Server, preparation::missing_means_none};
use crate::{
    caller::tokens::{Tokens, TokensError},
    config::{
        Config, ConfigError, PartState, ReloadEnd, ReloadOutcome, ReloadReply, ReloadRequests, ReloadedPart, Source,
        TcpPort,
    },
    policy::{accounts::own_user, audit},
    process::timer::until,
};

/// Why a reading has no outcome.
const FAULT: &str = "reading the configuration failed";

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
    /// The operators' requests, which the senders bound.
    requests: ReloadRequests,
    /// The requests that the next reading answers.
    waiting: Vec<ReloadReply>,
    /// The requests that the reading under way answers.
    answered_next: Vec<ReloadReply>,
}

/// An event that the server must act on.
pub(super) enum ReloadEvent {
    /// An operator has asked for a reading.
    Asked,
    /// A reading has ended, with these results.
    Read(Box<Result<Reading, JoinError>>),
}

/// The results of a reading. A readable configuration names the tokens file.
pub(super) struct Reading {
    /// `None` if only the tokens were read.
    config: Option<Result<Config, ConfigError>>,
    tokens: Result<Tokens, TokensError>,
}

impl<F: Fn() -> Result<Config, ConfigError> + Clone + Send + 'static> Reloads<F> {
    /// Prepares readings by `settings` for a server that has started with `config`.
    pub(super) fn new(settings: F, config: &Config, requests: ReloadRequests) -> Self {
        let tokens_file = config.listen.tcp.map(|port| (port, config.listen.tokens.clone()));
        let (waiting, answered_next) = (Vec::new(), Vec::new());
        Self { settings, plan: Plan::default(), reading: JoinSet::new(), tokens_file, requests, waiting, answered_next }
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

    /// Waits for a request, or for the end of a reading, which begins when one is due. Cancel-safe.
    pub(super) async fn next(&mut self) -> ReloadEvent {
        loop {
            if let Some(cause) = self.plan.begin(now()) {
                if cause == Cause::Signal {
                    self.answered_next.append(&mut self.waiting);
                }
                let (settings, tokens_file) = (self.settings.clone(), self.tokens_file.clone());
                self.reading.spawn_blocking(move || read(cause, settings, tokens_file));
            }
            let due = self.plan.due();
            tokio::select! {
                Some(read) = self.reading.join_next() => return ReloadEvent::Read(read.into()),
                Some(reply) = self.requests.recv() => {
                    // Their senders have given up, and others have taken their places.
                    self.waiting.retain(|waiting| !waiting.is_closed());
                    self.waiting.push(reply);
                    self.plan.on_signal();
                    return ReloadEvent::Asked;
                }
                () = until(due) => {}
            }
        }
    }
}

fn tell_unusable(problem: &TokensError) -> String {
    let message =
        format!("no token is valid, and sessions of their holders end, until the tokens file is usable: {problem}");
    error!("{message}");
    audit::tokens_unusable(problem);
    message
}

fn unchanged_tokens(problem: &TokensError) -> String {
    format!("all tokens stay as they are, and their file is read again soon: {problem}")
}

/// Writes the line of a part into the log. Tokens that cannot be read have lines of their own.
fn tell(ReloadedPart { state, message, .. }: &ReloadedPart) {
    match state {
        PartState::Unchanged | PartState::InForce => info!("{message}"),
        PartState::AfterRestart => warn!("{message}"),
        PartState::Failed => {}
    }
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

impl<F> Reloads<F> {
    /// Answers the requests that came before the reading began.
    fn answer(&mut self, outcome: &ReloadOutcome) {
        for reply in self.answered_next.drain(..) {
            // A sender that has given up needs no answer.
            let _ = reply.send(outcome.clone());
        }
    }
}

impl Server {
    /// Puts new rules and new tokens in force, each if it can be read. A malformed tokens file refuses the new rules,
    /// too; but a token that the tokens file does not name any more is revoked in any case. Answers the requests for
    /// this reading. Returns whether this answers all signals and requests so far.
    pub(super) fn reload<F>(&self, read: Result<Reading, JoinError>, reloads: &mut Reloads<F>) -> bool {
        let Reading { config, tokens } = read.unwrap_or_else(|panic| {
            error!("{FAULT} ({panic}): restart the broker and report the fault");
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
        let tokens_file = reloads.tokens_file.as_ref().map(|(_, path)| path.as_path());
        let outcome = match (config, self.reload_tokens(action, tokens, tokens_file)) {
            (Some(Ok(_)), Err(problem)) if !found.admits_rules() => {
                audit::reload_refused(&problem);
                self.on_reloaded(Err(&problem));
                Err(problem.to_string())
            }
            (Some(config), tokens) => self.reload_rules(config, tokens),
            (None, Err(problem)) => {
                audit::tokens_refused(&problem);
                self.on_reloaded(Err(&problem));
                Err(problem.to_string())
            }
            (None, Ok(_)) => Err(FAULT.to_owned()),
        };
        reloads.answer(&outcome);
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

    /// Does what the plan has decided. Returns the outcome for the tokens, if there is a tokens file.
    ///
    /// # Errors
    /// The mistake of a malformed tokens file that is to be told.
    fn reload_tokens(
        &self,
        action: TokensAction,
        tokens: Result<Tokens, TokensError>,
        file: Option<&Path>,
    ) -> Result<Option<ReloadedPart>, TokensError> {
        let failed = |message| file.map(|file| ReloadedPart::failed_tokens(file.into(), message));
        match (action, tokens) {
            (TokensAction::Accept { again }, Ok(tokens)) => {
                let (old, new) = (self.tokens.borrow().by_name(), tokens.by_name());
                self.set_tokens(tokens);
                if again {
                    audit::tokens_usable();
                }
                Ok(file.map(|file| ReloadedPart::tokens(&old, &new, file.into())))
            }
            (TokensAction::Restrict, Err(problem)) => {
                if let TokensError::Invalid { readable, .. } = &problem {
                    let retained = self.tokens.borrow().retained(readable);
                    self.set_tokens(retained);
                }
                Err(problem)
            }
            (TokensAction::RevokeAll, Err(problem)) => {
                self.set_tokens(Tokens::default());
                Ok(failed(tell_unusable(&problem)))
            }
            (TokensAction::Warn, Err(problem)) => {
                let message = unchanged_tokens(&problem);
                warn!("{message}");
                Ok(failed(message))
            }
            (_, Err(problem)) => Ok(failed(unchanged_tokens(&problem))),
            (_, Ok(_)) => Ok(None),
        }
    }

    /// Puts the rules of `config` in force. `tokens` is the outcome for the tokens, or the mistake in their file.
    fn reload_rules(
        &self,
        config: Result<Config, ConfigError>,
        tokens: Result<Option<ReloadedPart>, TokensError>,
    ) -> ReloadOutcome {
        if let Err(problem) = &tokens {
            audit::tokens_refused(problem);
        }
        let mut config = config.map_err(|mistake| {
            audit::reload_refused(&mistake);
            self.on_reloaded(Err(&mistake));
            match &tokens {
                Err(other) => format!("{mistake}; {other}"),
                Ok(_) => mistake.to_string(),
            }
        })?;
        let rules = mem::take(&mut config.rules);
        let source = mem::replace(&mut config.source, self.config.source.clone());
        let file = source.as_ref().map(|source| source.path.clone());
        let in_force = ReloadedPart::rules(self.broker.policy().borrow().rules(), &rules, file.clone());
        let settings = ReloadedPart::settings(&self.config, &config, file);
        let count = rules.len();
        self.broker.set_policy(self.with_valid_tokens(Policy::new(rules, own_user())));
        let parts: Vec<_> = [in_force, settings].into_iter().chain(tokens.ok().flatten()).collect();
        parts.iter().for_each(tell);
        audit::reloaded(count);
        self.on_reloaded(Ok(source));
        Ok(parts)
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
