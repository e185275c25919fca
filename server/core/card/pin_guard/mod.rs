//! The PIN guard: refuses to send a value that the card has already rejected, so that a program in a loop cannot block
//! a PIN. Pure.
//!
//! The guard stores keyed hashes of the values that the card has rejected with `63Cx` or `6300`, each under its
//! instruction, the selected file, P1 and P2 (ISO 7816-4 §11.5: VERIFY, CHANGE REFERENCE DATA, ENABLE and DISABLE
//! VERIFICATION REQUIREMENT, RESET RETRY COUNTER); and the last number of remaining tries of each PIN.
//!
//! | Event | Forgotten |
//! | --- | --- |
//! | a VERIFY succeeds | all about its PIN: the card has reset the retry counter |
//! | a PIN was changed or unblocked | everything: one PIN may have several references |
//! | the card reports a blocked PIN (`63C0`, `6983`) | all about that PIN: no try is left to save |
//! | another command succeeds that may change a PIN | all values |
//! | the card was removed, lost or released (`own = "on_demand"`) | everything |
//! | a card has more than 64 values | the oldest value |
//!
//! Commands to read, to write files, to select and to compute cannot change a PIN. Nor can queries: commands without
//! data whose answer has data, with any instruction.
//!
//! Bytes that are not an APDU count as one of the PIN commands if the second byte is its instruction, in every class;
//! the value is everything after the first four bytes.
//!
//! A correct PIN that is refused does more harm than a lost try, so in doubt a command passes. The guard does not
//! compare commands without data (they query the counter), parts of a chain, secure messaging, proprietary classes, and
//! any command while the selected file is uncertain. A reset forgets nothing: the PIN stays the same. Two kinds of
//! commands always count as harmless, because a program that sends them between its tries would otherwise use up all
//! tries: queries, and writes to files. A few cards keep PINs in files; `pin_guard = false` is for them.

mod reading;

use std::collections::VecDeque;

use reading::{Kind, Secret, Sent, Success};

use super::view::CardView;
use crate::{
    apdu::{ParsedCommand, StatusWord},
    error::{Failure, Reason},
    keyed_hash::{HashKey, KeyedHash},
};

/// The most rejected values, and the most PINs with a retry counter, that are stored for one card. Each value has cost
/// a try, so most cards block earlier; otherwise recent values matter more than old ones.
const MAX_REMEMBERED: usize = 64;

/// The checks that the configuration enables for one reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guarded {
    /// Refuse a value that the card has already rejected.
    pub known_wrong: bool,
    /// Refuse the last try of a PIN without `allow_last_try`.
    pub last_try: bool,
}

/// The rejected values and retry counters of the card in one reader.
pub struct PinGuard {
    guarded: Guarded,
    key: HashKey,
    /// Rejected values with their secret, oldest first.
    refused: VecDeque<(Secret, KeyedHash)>,
    /// Remaining tries by PIN, oldest first.
    tries_left: VecDeque<(Secret, u8)>,
    /// The command that was sent and is not answered yet.
    sent: Sent,
}

/// The reading of an admitted command, with its value hashed once. Has no `Debug`: the hash is as secret as the value.
pub struct Passed(Sent);

impl PinGuard {
    /// Creates a guard without stored values. `key` hashes them; it is random in each run.
    pub fn new(guarded: Guarded, key: HashKey) -> Self {
        Self { guarded, key, refused: VecDeque::new(), tries_left: VecDeque::new(), sent: Sent::Harmless }
    }

    /// Admits a command to the card in the state `view`.
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
        // First, so that a caller without permission for the last try learns nothing about the values of others.
        if self.guarded.last_try
            && !allow_last_try
            && secret.kind == Kind::Pin
            && self.tries_left.iter().any(|(known, left)| known == secret && *left == 1)
        {
            let message = "one try of this PIN is left: allow it in the request (allow_last_try)";
            return Err(Failure::not_sent(Reason::PinLastTry, message));
        }
        if self.guarded.known_wrong && self.refused.iter().any(|(known, hash)| known == secret && hash == value) {
            let message = "the card has already rejected this PIN and a repeat costs a try: ask the user for the PIN";
            return Err(Failure::not_sent(Reason::PinKnownWrong, message));
        }
        Ok(())
    }

    /// Records that an admitted command is about to be sent.
    pub fn sends(&mut self, Passed(sent): Passed) {
        self.sent = sent;
    }

    /// Records a response of the card.
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

    /// Forgets everything: the card was replaced, or may have been used outside the broker.
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

/// Whether a command with this status word may have had an effect (ISO 7816-4 §5.6).
fn may_have_run(word: u16) -> bool {
    !matches!(word >> 8, 0x64 | 0x66..=0x6F)
}

#[cfg(test)]
mod tests;
