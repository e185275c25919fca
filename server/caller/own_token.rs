//! The token of `--tcp auto`, which stands for the broker's own user; and all tokens that are valid on the TCP port.

use std::io;

use cardbroker_core::{caller::Caller, user::Account};
use subtle::ConstantTimeEq;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::{
    token_file::{TokenHash, fresh_token, token_hash},
    tokens::Tokens,
};

/// The token of this run of the broker, by its hash. It is made at the start. Clones are the same token.
#[derive(Debug, Clone)]
pub struct OwnToken {
    hash: TokenHash,
    /// The user for whom it stands, with its groups.
    account: Account,
}

impl OwnToken {
    /// Makes a random token for the user of that account. Returns it with its text, for the endpoint file.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn make(account: Account) -> io::Result<(Self, Zeroizing<String>)> {
        let token = fresh_token()?;
        Ok((Self { hash: token_hash(token.as_bytes()), account }, token))
    }
}

/// The tokens that authenticate callers on the TCP port. Clones share the listed ones.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The tokens of the tokens file. A reload replaces them.
    listed: watch::Receiver<Tokens>,
    /// The token of `--tcp auto`, which no reload changes.
    own: Option<OwnToken>,
}

impl Credentials {
    /// Accepts the `listed` tokens in force, and the broker's own one if there is one.
    pub fn new(listed: watch::Receiver<Tokens>, own: Option<OwnToken>) -> Self {
        Self { listed, own }
    }

    /// Returns the caller who offers this token on the connection of that number; `None` if the token is not valid.
    pub fn caller(&self, offered: &[u8], connection: u64) -> Option<Caller> {
        let listed = self.listed.borrow().find(offered).map(|token| Caller::remote(connection, token));
        let hash = token_hash(offered);
        let is_own = |own: &&OwnToken| bool::from(own.hash.as_bytes().ct_eq(hash.as_bytes()));
        // The process behind the connection is not known, so the connection is the caller.
        let own =
            self.own.as_ref().filter(is_own).map(|own| Caller::local(connection, own.account.clone(), None, None));
        own.or(listed)
    }
}

#[cfg(test)]
mod tests {
    use cardbroker_core::{
        caller::{CallerKey, Principal},
        user::{example, example_account},
    };

    use super::*;
    use crate::caller::token_file::TokenEntry;

    #[test]
    fn the_own_token_is_its_user_whatever_the_list_says() {
        let entry = |token: &[u8]| TokenEntry { name: "a".into(), hash: token_hash(token) };
        let (list, listed) = watch::channel([entry(b"one")].into_iter().collect::<Tokens>());
        let (own, text) = OwnToken::make(example_account(7)).unwrap();
        assert!(!format!("{own:?}").contains(&*text) && text.len() == 64);
        let credentials = Credentials::new(listed.clone(), Some(own));
        let principal = |token: &[u8]| credentials.caller(token, 3).map(|caller| caller.principal());
        for list_now in [Tokens::default(), [entry(b"one")].into_iter().collect()] {
            let is_listed = list_now.find(b"one").is_some();
            list.send_replace(list_now);
            assert_eq!(principal(text.as_bytes()), Some(Principal::User(example(7))));
            assert_eq!(principal(b"one").is_some(), is_listed);
            assert_eq!(principal(b""), None);
        }
        let (_, other) = OwnToken::make(example_account(7)).unwrap();
        assert_eq!(principal(other.as_bytes()), None, "of another run");
        let caller = credentials.caller(text.as_bytes(), 3).unwrap();
        assert_eq!(caller.key, CallerKey::Connection(3));
        assert_eq!(Credentials::new(listed, None).caller(text.as_bytes(), 3), None);
    }
}
