//! A reload: the rules and tokens in force after configuration and tokens file were read again.

use std::{future::pending, mem, time::Duration};

use cardbroker_core::policy::Policy;
use tokio::time::{Instant, sleep_until};
use tracing::{error, warn};

use super::{LoadError, Server, policy};
use crate::{
    caller::tokens::{Tokens, TokensError},
    config::Config,
    policy::audit,
};

/// The time until an unusable tokens file is read again: it may be about to be replaced.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// The time between further readings, while no token is valid.
const LATER_LOOKS: Duration = Duration::from_secs(5);

/// When configuration and tokens are read again, and what earlier readings have shown.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    /// The state of the tokens file after the last reading.
    pub(super) tokens_file: TokensFile,
    /// Whether a reading is due by a signal that came after the last one began.
    signal: bool,
    /// Whether the reading that has begun is due to a signal.
    by_signal: bool,
    /// When a reading is due without a signal.
    retry_at: Option<Instant>,
}

/// The state of the tokens file. A file that is missing, or has another owner or mode, is unusable.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokensFile {
    #[default]
    Usable,
    /// It was unusable once, and may be about to be replaced.
    Doubtful,
    /// It was unusable twice: no token is valid.
    Unusable,
}

impl Reloads {
    /// Records that a signal asks for a reading.
    pub(super) fn on_signal(&mut self) {
        self.signal = true;
    }

    /// Whether a reading is due; it then counts as begun.
    pub(super) fn begin(&mut self) -> bool {
        let pause = match self.tokens_file {
            TokensFile::Usable => None,
            TokensFile::Doubtful => Some(SECOND_LOOK),
            TokensFile::Unusable => Some(LATER_LOOKS),
        };
        let retry_at = pause.map(|pause| *self.retry_at.get_or_insert_with(|| Instant::now() + pause));
        let is_due = self.signal || retry_at.is_some_and(|due| due <= Instant::now());
        self.retry_at = retry_at.filter(|_| !is_due);
        if is_due {
            self.by_signal = mem::take(&mut self.signal);
        }
        is_due
    }

    /// Waits until a reading is due without a signal.
    pub(super) async fn retry(&self) {
        match self.retry_at {
            Some(due) => sleep_until(due).await,
            None => pending().await,
        }
    }
}

impl Server {
    /// Puts new rules and tokens in force. A mistake leaves both unchanged, but a token that the tokens file does not
    /// name any more is revoked in any case. Returns the new state of the tokens file.
    pub(super) fn reload(&self, loaded: Result<(Config, Tokens), LoadError>, reloads: &Reloads) -> TokensFile {
        match (loaded, reloads.tokens_file) {
            (Ok((mut config, tokens)), _) => {
                let rules = config.rules.len();
                let policy = policy(&mut config, &tokens);
                if config != self.config {
                    warn!("some changed settings take effect at the next start; the new rules are in force");
                }
                self.tokens.send_replace(tokens);
                self.broker.set_policy(policy);
                audit::reloaded(rules);
                TokensFile::Usable
            }
            (Err(LoadError::Tokens(TokensError::File { .. })), TokensFile::Usable) => TokensFile::Doubtful,
            (Err(LoadError::Tokens(problem @ TokensError::File { .. })), TokensFile::Doubtful) => {
                self.restrict(Tokens::default());
                error!(
                    "no token is valid, and sessions of their holders end, until the tokens file is usable: {problem}"
                );
                audit::tokens_unusable(&problem);
                TokensFile::Unusable
            }
            (Err(problem), before) => {
                if let LoadError::Tokens(TokensError::Invalid { readable, .. }) = &problem {
                    let retained = self.tokens.borrow().retained(readable);
                    self.restrict(retained);
                }
                if reloads.by_signal || before == TokensFile::Doubtful {
                    audit::reload_refused(&problem);
                }
                if before == TokensFile::Unusable { before } else { TokensFile::Usable }
            }
        }
    }

    /// Revokes all other tokens. The rules stay.
    fn restrict(&self, tokens: Tokens) {
        let policy = Policy::clone(&self.broker.policy().borrow()).with_tokens(tokens.ids());
        self.tokens.send_replace(tokens);
        self.broker.set_policy(policy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_unusable_file_is_read_again_after_one_and_five_seconds() {
        let mut reloads = Reloads::default();
        assert!(!reloads.begin());
        reloads.on_signal();
        assert!(reloads.begin() && reloads.by_signal && !reloads.begin());
        let start = Instant::now();
        let mut seen = Vec::new();
        for state in [TokensFile::Doubtful, TokensFile::Unusable, TokensFile::Unusable] {
            reloads.tokens_file = state;
            while !reloads.begin() {
                reloads.retry().await;
            }
            assert!(!reloads.by_signal);
            seen.push(start.elapsed().as_secs());
        }
        assert_eq!(seen, [1, 6, 11]);
        reloads.tokens_file = TokensFile::Usable;
        assert!(!reloads.begin() && reloads.retry_at.is_none());
    }
}
