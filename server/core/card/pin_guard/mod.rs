//! The PIN guard: refuses to send a value that the card has already rejected, so that a program in a loop cannot block
//! a PIN. Pure.
//!
//! **A counter** of the card is what must not run out. It has a place, a kind and a reference (P2). The place is the
//! selected file, on whatever channel, under the application's name as the card has confirmed it; where the selection
//! is not certain, it is the time since a command may last have changed it. The references 01 to 1F are global (ISO
//! 7816-4), so their place is the application, whatever file of it is selected; not the card, because the applications
//! of a card may be programs that do not share a PIN. The kind is a PIN, or the code that unblocks it: RESET RETRY
//! COUNTER presents the code of the PIN in P2. Standards join counters: PW1 of OpenPGP has the references 81 and 82,
//! and the unblocking code of a PIV card is its reference 81. All else stays apart.
//!
//! **A value** is presented by VERIFY (20), CHANGE REFERENCE DATA (24), DISABLE and ENABLE VERIFICATION REQUIREMENT
//! (26, 28) and RESET RETRY COUNTER (2C), and the odd instruction after each one, whose data objects are opened. It
//! counts in every form: any P1 that says that there is one, short or extended length, the joined links of a chain,
//! alone or in front of a new value. There only the card knows where the first value ends, unless the standard of the
//! application or the padding tells it. One refusal of such data is then a proof for a value that cannot be longer than
//! their common beginning, and otherwise only a sign: two of them count (`value` has the rules). Bytes that are not an
//! APDU present everything after their header, and what their length field announces if more bytes follow it.
//!
//! **A question to a finger** is no value: its data are constant. These are the reference 96, and data objects without
//! a value. The finger may be another one each time, so only the number of tries counts.
//!
//! **The card's answer** tells:
//!
//! | Answer | Values | Remaining tries |
//! | --- | --- | --- |
//! | `63Cx` | known wrong | x |
//! | `6300` | known wrong | one less, if known |
//! | `6982`, which may have other causes | known wrong if the card has answered the same value so before | the same |
//! | `63C0`, `6983`, `6984`: blocked | forgotten for this counter: no try is left to save | forgotten |
//! | GET DATA 00C4 of an OpenPGP card | | as the answer says |
//!
//! **Forgotten** is:
//!
//! | Event | Forgotten |
//! | --- | --- |
//! | a VERIFY succeeds | all about its counter: the card has reset it |
//! | the card accepts a PIN or a key that it had not accepted when it answered `6982` | that answer |
//! | a PIN was changed or unblocked | everything: one PIN may have several references |
//! | another command succeeds that may change a PIN | all values |
//! | a command with permission to repeat a known wrong value presents it | the value, until the card rejects it again |
//! | the card was removed, lost or released (`own = "on_demand"`) | everything |
//! | a card has more than 64 values | the oldest value |
//!
//! Commands to read, to write files, to select and to compute cannot change a PIN. Nor can queries: commands without
//! data whose answer has data, with any instruction.
//!
//! `6982` may only mean that the card wants another PIN or key first. The guard takes one for accepted until it is
//! presented again, or another command comes than one that presents a PIN, reads, writes a file or selects an EF, or
//! one on another channel: the card may have dropped it then. Where the standard of the application (OpenPGP, PIV) has
//! no such PINs, nothing of this is forgotten.
//!
//! A refused last link leaves the earlier ones in the card, which would join them with the next value. So everything
//! that continues such a chain is refused too, until another command or a reset ends it.
//!
//! A correct PIN that is refused does more harm than a lost try, so in doubt a command passes. The guard does not
//! compare commands without data (they query the counter), secure messaging, proprietary classes, and chains of more
//! than 1,024 bytes; `docs/pin-guard.md` has the whole list. A reset forgets nothing: the PIN stays the same. Three
//! kinds of commands always count as harmless, because a program that sends them between its tries would otherwise use
//! up all tries: queries, commands that stay in the reader, and writes to files. A few cards keep PINs in files;
//! `pin_guard = false` is for them.

mod chain;
mod counter;
mod memory;
mod reading;
mod value;

use chain::Chain;
use counter::Counter;
use memory::Memory;
use reading::{Presented, Sent, Situation, Success};
use value::Value;

use super::{selection::ConfirmedName, view::CardView};
use crate::{
    apdu::{Class, ParsedCommand, StatusWord},
    error::Failure,
    keyed_hash::HashKey,
};

/// The checks that the configuration enables for one reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guarded {
    /// Refuse a value that the card has already rejected.
    pub known_wrong: bool,
    /// Refuse the last try of a PIN without `allow_last_try`.
    pub last_try: bool,
}

/// The caller's permissions for one command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowed {
    /// It may use up the last try.
    pub last_try: bool,
    /// It may present a value that the card has already rejected. The policy has permitted this.
    pub known_wrong: bool,
}

/// The rejected values and retry counters of the card in one reader.
pub struct PinGuard {
    guarded: Guarded,
    key: HashKey,
    memory: Memory,
    /// The open chain that presents a PIN.
    chain: Option<Chain>,
    /// The command that was sent and is not answered yet.
    sent: Sent,
    /// Whether that command repeats a known wrong value, by permission.
    is_repeat: bool,
    /// The logical channel of the last command; `None` for a class without one.
    channel: Option<u8>,
}

/// The reading of an admitted command, with its value hashed once. Has no `Debug`: the hash is as secret as the value.
pub struct Passed {
    sent: Sent,
    is_repeat: bool,
    channel: Option<u8>,
}

impl PinGuard {
    /// Creates a guard without stored values. `key` hashes them; it is random in each run.
    pub fn new(guarded: Guarded, key: HashKey) -> Self {
        let (memory, chain, sent) = (Memory::default(), None, Sent::Reads);
        Self { guarded, key, memory, chain, sent, is_repeat: false, channel: None }
    }

    /// Admits a command to the card in the state `view`.
    ///
    /// # Errors
    /// [`Failure::known_wrong`] or [`Failure::last_try`]; in a refused chain the same reason without a number of tries.
    pub fn admit(&mut self, command: &ParsedCommand, allowed: Allowed, view: &CardView) -> Result<Passed, Failure> {
        let chain = self.chain.as_ref().filter(|chain| chain.is_continued_by(command.bytes()));
        if let Some(reason) = chain.and_then(|chain| chain.refused) {
            let message = "this continues a chain whose PIN was refused: reset the card, or send another command first";
            return Err(Failure::not_sent(reason, message));
        }
        let sent = Situation { key: &self.key, view, names: &self.memory.names, chain }.read(command);
        let is_in_chain = chain.is_some();
        let passed = self.check(&sent, allowed);
        if let (Err(failure), true, Some(chain)) = (&passed, is_in_chain, &mut self.chain) {
            chain.refused = Some(failure.reason);
        }
        let channel = match command.bytes() {
            // To the reader.
            [0xFF, ..] => self.channel,
            bytes => bytes.first().and_then(|class| Class(*class).logical_channel()),
        };
        passed.map(|is_repeat| Passed { sent, is_repeat, channel })
    }

    /// Checks a command; true if it repeats a known wrong value.
    fn check(&self, sent: &Sent, allowed: Allowed) -> Result<bool, Failure> {
        let (counter, value) = match sent {
            Sent::Link { counter, .. } => (counter.as_ref(), None),
            Sent::Presents(presented) => {
                (presented.counter.as_ref().filter(|_| presented.uses_try), presented.value.as_ref())
            }
            _ => return Ok(false),
        };
        // First, so that a caller without permission for the last try learns nothing about the values of others.
        let is_last = counter.is_some_and(|counter| self.memory.is_last_try(counter));
        if self.guarded.last_try && !allowed.last_try && is_last {
            let message = "one try of this PIN is left: allow it in the request (allow_last_try)";
            return Err(Failure::last_try(message));
        }
        let Sent::Presents(presented) = sent else { return Ok(false) };
        let presented = presented.counter.as_ref().zip(value);
        let is_known = presented.is_some_and(|(counter, value)| self.memory.is_known(counter, value));
        if self.guarded.known_wrong && is_known && !allowed.known_wrong {
            let message = "the card has already rejected this PIN and a repeat costs a try: ask the user for the PIN";
            let tries = presented.and_then(|(counter, _)| self.memory.tries(counter));
            return Err(Failure::known_wrong(tries, message));
        }
        Ok(is_known)
    }

    /// Records that an admitted command is about to be sent.
    pub fn sends(&mut self, Passed { sent, is_repeat, channel }: Passed) {
        if self.channel != channel {
            // A secret may be accepted on one channel only.
            self.memory.end_all();
            self.channel = channel;
        }
        self.chain = match &sent {
            Sent::Link { link, .. } => Some(Chain::with(self.chain.take(), link)),
            _ => None,
        };
        if let Sent::Presents(presented) = &sent
            && let Some((counter, value)) = presented.counter.as_ref().zip(presented.value.as_ref())
            && is_repeat
        {
            self.memory.forget_value(counter, value);
        }
        match &sent {
            Sent::Reads | Sent::AsksTries(_) | Sent::Link { .. } => {}
            // Until the card has accepted it.
            Sent::Presents(presented) => match &presented.counter {
                Some(counter) if presented.on_success != Success::Nothing => self.memory.end(counter),
                Some(_) => {}
                None => self.memory.end_all(),
            },
            Sent::Authenticates(Some(key)) => self.memory.end(key),
            Sent::Authenticates(None) | Sent::Harmless | Sent::Unknown { .. } => self.memory.end_all(),
        }
        (self.sent, self.is_repeat) = (sent, is_repeat);
    }

    /// Records a response of the card.
    pub fn answered(&mut self, response: &[u8]) {
        let Some((data, StatusWord(word))) = StatusWord::split(response) else { return };
        let has_data = !data.is_empty() || StatusWord(word).offers_data();
        match std::mem::replace(&mut self.sent, Sent::Reads) {
            Sent::Reads | Sent::Harmless => {}
            Sent::Authenticates(key) if may_have_run(word) && !StatusWord(word).refuses_pin() => {
                self.memory.accept(key.filter(|_| is_success(word)));
            }
            Sent::Authenticates(_) => {}
            Sent::Link { .. } if word == 0x9000 => {}
            Sent::Link { .. } => self.chain = None,
            Sent::AsksTries(counters) => {
                if let ([_, _, _, _, tries @ ..], 0x9000) = (data, word) {
                    counters.into_iter().zip(tries).for_each(|(counter, tries)| self.memory.set_tries(counter, *tries));
                }
            }
            Sent::Unknown { gives_nothing } => {
                if may_have_run(word) && !(gives_nothing && has_data) {
                    self.memory.rejected.clear();
                }
            }
            Sent::Presents(presented) => self.presented(*presented, word),
        }
    }

    fn presented(&mut self, presented: Presented, word: u16) {
        let Presented { counter, value, uses_try, on_success } = presented;
        if StatusWord(word).refuses_pin() {
            if let Some(counter) = counter {
                self.rejected(counter, value, uses_try, word);
            }
        } else if may_have_run(word) {
            match (on_success, counter) {
                (Success::Nothing, _) => {}
                (Success::IsRight, counter) => {
                    counter.iter().for_each(|counter| self.memory.forget_counter(counter));
                    self.memory.accept(counter.filter(|_| is_success(word)));
                }
                (Success::IsChanged, _) => self.memory.forget_values(),
            }
        }
    }

    fn rejected(&mut self, counter: Counter, value: Option<Value>, uses_try: bool, word: u16) {
        match word {
            0x63C0 | 0x6983 | 0x6984 => return self.memory.forget_counter(&counter),
            0x6300 | 0x6982 if uses_try => self.memory.count_down(&counter),
            0x63C1..=0x63CF => self.memory.set_tries(counter.clone(), (word & 0x0F) as u8),
            _ => {}
        }
        match value {
            Some(value) if word != 0x6982 => self.memory.reject(counter, value),
            Some(value) if uses_try => self.memory.suspect(&counter, &value, self.is_repeat),
            _ => {}
        }
    }

    /// Records the name of an application that the card has confirmed. Counters under another name of it join.
    pub fn confirmed(&mut self, name: ConfirmedName) {
        self.memory.confirmed(name);
    }

    /// Records that the card was reset: it has dropped an open chain.
    pub fn reset(&mut self) {
        self.chain = None;
        self.memory.end_all();
    }

    /// Forgets everything: the card was replaced, or may have been used outside the broker.
    pub fn forget(&mut self) {
        self.memory = Memory::default();
        (self.chain, self.sent, self.is_repeat) = (None, Sent::Reads, false);
    }
}

/// Whether a command with this status word has certainly done all that it can.
fn is_success(word: u16) -> bool {
    matches!(word, 0x9000 | 0x6100..=0x61FF)
}

/// Whether a command with this status word may have had an effect (ISO 7816-4 §5.6).
fn may_have_run(word: u16) -> bool {
    !matches!(word >> 8, 0x64 | 0x66..=0x6F)
}

#[cfg(test)]
mod tests;
