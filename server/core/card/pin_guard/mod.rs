//! The guard of PINs: what the card has refused once is not sent to it again, so that a program that loops cannot block it. Pure.
//!
//! Remembered are values that the card has answered with `63Cx` or `6300`, as keyed hashes, each for the instruction, the place that is
//! selected, P1 and P2 (ISO 7816-4 §11.5: VERIFY, CHANGE REFERENCE DATA, ENABLE and DISABLE VERIFICATION REQUIREMENT, RESET RETRY
//! COUNTER); and the number of tries that were left then.
//!
//! | Event | What is forgotten |
//! | --- | --- |
//! | a VERIFY succeeds | what is known of its PIN: the card gives all tries again |
//! | a PIN was changed or unblocked | everything: one PIN may go by several names |
//! | the card says that a PIN is blocked (`63C0`, `6983`) | what is known of it: there is nothing left to lose |
//! | another command succeeds that may change a PIN: all but those that read, write files, select and compute, and questions | all values |
//! | the card was out of the broker's hand: removed, lost, let go (`own = "on_demand"`) | everything |
//! | more than 64 values of a card | the oldest |
//!
//! Bytes that are no APDU count as one of these commands if the second byte is its instruction, whatever the class; all
//! that follows the first four is the value.
//!
//! To refuse a PIN that is right is worse than to spend a try, so when in doubt a command passes. Not compared are commands without
//! data (they ask for the state), links of a chain, secure messaging, proprietary classes, and any while it is not certain what is
//! selected. A reset forgets nothing: the PIN is the same. Two kinds of commands are held harmless all the same, for else a program that
//! sends them between its tries would spend them all: a question, which gives the card nothing and gets data, whatever its number; and
//! the writing of files, although there are cards that keep PINs in files (`pin_guard = false`).

mod reading;

use std::collections::VecDeque;

use reading::{Kind, Secret, Sent, Success};

use super::view::CardView;
use crate::{
    apdu::{ParsedCommand, StatusWord},
    error::{Failure, Reason},
    keyed_hash::{HashKey, KeyedHash},
};

/// Values, and PINs with their tries, that are remembered of one card. Each value has cost a try, so a card is blocked long before
/// there are more; and if not, the value that a program tries now matters more than one of long ago.
const MAX_REMEMBERED: usize = 64;

/// What of a reader is guarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guarded {
    /// Values that were refused.
    pub known_wrong: bool,
    /// The last try.
    pub last_try: bool,
}

/// What is remembered of the card in one reader.
pub struct PinGuard {
    guarded: Guarded,
    key: HashKey,
    /// Oldest first.
    refused: VecDeque<(Secret, KeyedHash)>,
    /// Oldest first.
    tries_left: VecDeque<(Secret, u8)>,
    /// The command that was not answered yet.
    sent: Sent,
}

/// A command that the guard lets pass, read and its value hashed once. Has no `Debug`, for the hash is as secret as the
/// value.
pub struct Passed(Sent);

impl PinGuard {
    /// Creates a guard that has seen no card yet. `key` is for this run: values are compared by their keyed hashes.
    pub fn new(guarded: Guarded, key: HashKey) -> Self {
        Self { guarded, key, refused: VecDeque::new(), tries_left: VecDeque::new(), sent: Sent::Harmless }
    }

    /// Lets a command pass, of which `view` is what it finds.
    ///
    /// # Errors
    /// [`Reason::PinKnownWrong`] or [`Reason::PinLastTry`], not sent.
    pub fn admit(&self, command: &ParsedCommand, allow_last_try: bool, view: &CardView) -> Result<Passed, Failure> {
        let sent = reading::read(&self.key, command, view);
        if let Sent::Presents { secret: Some(secret), value: Some(value), .. } = &sent {
            self.check(secret, value, allow_last_try)?;
        }
        Ok(Passed(sent))
    }

    fn check(&self, secret: &Secret, value: &KeyedHash, allow_last_try: bool) -> Result<(), Failure> {
        // First, so that who may not try learns nothing of what others have tried.
        if self.guarded.last_try
            && !allow_last_try
            && secret.kind == Kind::Pin
            && self.tries_left.iter().any(|(known, left)| known == secret && *left == 1)
        {
            let message = "one try of this PIN is left: allow it in the request (allow_last_try)";
            return Err(Failure::not_sent(Reason::PinLastTry, message));
        }
        if self.guarded.known_wrong && self.refused.iter().any(|(known, hash)| known == secret && hash == value) {
            let message = "this card has refused this PIN already: to send it again would use up a try, ask the user";
            return Err(Failure::not_sent(Reason::PinKnownWrong, message));
        }
        Ok(())
    }

    /// Records that a command that has passed is about to be sent.
    pub fn sends(&mut self, Passed(sent): Passed) {
        self.sent = sent;
    }

    /// A response has come.
    pub fn answered(&mut self, response: &[u8]) {
        let Some((data, word)) = response.split_last_chunk().map(|(data, word)| (data, u16::from_be_bytes(*word)))
        else {
            return;
        };
        let has_data = !data.is_empty() || StatusWord(word).offers_data();
        match std::mem::replace(&mut self.sent, Sent::Harmless) {
            Sent::Harmless => {}
            Sent::Unknown { gives_nothing } => {
                if may_have_run(word) && !(gives_nothing && has_data) {
                    self.refused.clear();
                }
            }
            Sent::Presents { secret, value, on_success } => self.presented(secret, value, on_success, word),
        }
    }

    fn presented(&mut self, secret: Option<Secret>, value: Option<KeyedHash>, on_success: Success, word: u16) {
        match (word, on_success) {
            (word, _) if StatusWord(word).refuses_pin() => {
                if let Some(secret) = secret {
                    self.refused(secret, value, word);
                }
            }
            (word, _) if !may_have_run(word) => {}
            (_, Success::Nothing) => {}
            (_, Success::IsRight) => {
                if let Some(secret) = secret {
                    self.forget_secret(&secret);
                }
            }
            (_, Success::IsChanged) => self.forget(),
        }
    }

    fn refused(&mut self, secret: Secret, value: Option<KeyedHash>, word: u16) {
        if matches!(word, 0x63C0 | 0x6983) {
            self.forget_secret(&secret);
            return;
        }
        if let Some(value) = value {
            remember(&mut self.refused, (secret.clone(), value));
        }
        if word != 0x6300 {
            self.tries_left.retain(|(known, _)| *known != secret);
            remember(&mut self.tries_left, (secret, (word & 0x0F) as u8));
        }
    }

    fn forget_secret(&mut self, secret: &Secret) {
        self.refused.retain(|(known, _)| known != secret);
        self.tries_left.retain(|(known, _)| known != secret);
    }

    /// The card is another one, or may have been in other hands.
    pub fn forget(&mut self) {
        self.refused.clear();
        self.tries_left.clear();
        self.sent = Sent::Harmless;
    }
}

fn remember<T: PartialEq>(remembered: &mut VecDeque<T>, new: T) {
    remembered.retain(|old| *old != new);
    if remembered.len() == MAX_REMEMBERED {
        remembered.pop_front();
    }
    remembered.push_back(new);
}

/// Whether a command that was answered so may have done something (ISO 7816-4 §5.6).
fn may_have_run(word: u16) -> bool {
    !matches!(word >> 8, 0x64 | 0x66..=0x6F)
}

#[cfg(test)]
mod tests;
