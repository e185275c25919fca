//! The tokens that let a watch continue an earlier one. A token stands for a generation of the view, for one caller and
//! one policy, in one run of the broker.
//!
//! The generation also counts changes of readers that the caller may not see, so it is sealed: each token has its own
//! number, with which a key of this run hides the generation. A token that was changed or belongs to another caller
//! yields a generation that does not exist, or one with a wrong difference for its holder alone.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use cardbroker_core::{caller::Identity, policy::Policy};

/// Creates and opens the tokens of one run.
#[derive(Clone)]
pub(super) struct ResumeTokens {
    epoch: Arc<str>,
    key: RandomState,
}

impl ResumeTokens {
    /// Creates the sealer for the run with this `epoch`.
    pub(super) fn new(epoch: Arc<str>) -> Self {
        Self { epoch, key: RandomState::new() }
    }

    /// Returns a token for a caller that knows the view of `generation`. Never the same one twice, so that tokens do
    /// not reveal changes of other readers.
    pub(super) fn seal(&self, generation: u64, who: &Identity, policy: &Policy) -> String {
        let nonce = RandomState::new().hash_one(());
        let sealed = generation ^ self.pad(nonce, who, policy);
        format!("{}-{nonce:016x}-{sealed:016x}", self.epoch)
    }

    /// Returns the generation in a token of this run. It never existed if the token belongs to another caller or
    /// another policy.
    pub(super) fn open(&self, token: &str, who: &Identity, policy: &Policy) -> Option<u64> {
        let (nonce, sealed) = token.strip_prefix(&*self.epoch)?.strip_prefix('-')?.split_once('-')?;
        let number = |digits| u64::from_str_radix(digits, 16).ok();
        Some(number(sealed)? ^ self.pad(number(nonce)?, who, policy))
    }

    fn pad(&self, nonce: u64, who: &Identity, policy: &Policy) -> u64 {
        self.key.hash_one((nonce, policy.revision(), who))
    }
}

#[cfg(test)]
mod tests {
    use cardbroker_core::{
        sid::Sid,
        user::{Account, example, example_account},
    };

    use super::*;

    #[test]
    fn a_token_is_valid_for_its_caller_run_and_rules() {
        let tokens = ResumeTokens::new("e".into());
        let policy = Policy::new(Vec::new(), example(0));
        let who = Identity::User(Account::unix(1000, 100));
        let token = tokens.seal(7, &who, &policy);
        assert_eq!(tokens.open(&token, &who, &policy), Some(7));
        assert_ne!(tokens.seal(7, &who, &policy), token, "two tokens are never the same");
        assert!(token.len() <= 128, "{token}");

        // A number beyond any generation that a run reaches.
        let is_far = |generation: Option<u64>| generation.is_none_or(|generation| generation > 1 << 40);
        for other in [
            Identity::User(Account::unix(1001, 100)),
            Identity::User(Account::unix(1000, 101)),
            Identity::User(example_account(7)),
            Identity::Token("laptop".into()),
            Identity::Unknown,
        ] {
            assert!(is_far(tokens.open(&token, &other, &policy)), "{other:?}");
        }
        let (elevated, plain) =
            (Identity::User(Account::windows(Sid::NOBODY, [Sid::ADMINISTRATORS])), Identity::User(example_account(7)));
        let of_windows = tokens.seal(7, &elevated, &policy);
        assert_eq!(tokens.open(&of_windows, &elevated, &policy), Some(7));
        let other_groups = Identity::User(Account::windows(Sid::NOBODY, []));
        assert!([plain, other_groups].iter().all(|other| is_far(tokens.open(&of_windows, other, &policy))));
        assert!(is_far(tokens.open(&token, &who, &policy.clone().with_revision(1))));
        assert!(is_far(ResumeTokens::new("e".into()).open(&token, &who, &policy)));
        assert_eq!(ResumeTokens::new("f".into()).open(&token, &who, &policy), None);
        for broken in ["", "e", "e-", "e-1", "e-x-y", "e--", "e-1-10000000000000000", &token[1..], "é-1-1"] {
            assert_eq!(tokens.open(broken, &who, &policy), None, "{broken}");
        }
    }
}
