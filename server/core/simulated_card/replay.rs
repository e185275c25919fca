//! A card that replays a recorded trace: it answers the recorded commands in their order, byte by byte. Resets change
//! nothing, because the broker resets cards by itself.
//!
//! The first command that differs from the recorded one, or that the trace does not show, ends the replay: the card is
//! as if removed, and no other one comes.

use std::{fmt, sync::Arc, time::Duration};

use super::{Absence, Reaction, RecordedCard, Step, StepContent};
use crate::{apdu::CommandParts, slot::Protocol};

/// The time from the last answer to a recorded removal, and from that to the next insertion.
pub const PAUSE: Duration = Duration::from_millis(500);

/// Why a replay has ended. Shows headers only: of a received command never a byte of its data, which may be a PIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayEnd {
    /// The fault of the received command.
    pub cause: EndCause,
    /// The line of the expected command in the file; `None` after the last one.
    pub line: Option<u64>,
    /// CLA, INS, P1 and P2 of the expected command, if there is one and the trace shows them.
    pub expected: Option<[u8; 4]>,
    /// CLA, INS, P1 and P2 of the received command; `None` if it cannot be parsed.
    pub received: Option<[u8; 4]>,
}

/// The causes for the end of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndCause {
    /// The received command is not the recorded one.
    Differs,
    /// The trace hides the command or its answer.
    Masked,
    /// Events are missing in the trace.
    Gap,
    /// The trace has no further command of this card.
    Over,
}

impl fmt::Display for EndCause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Differs => "the command differs from the recorded one",
            Self::Masked => "the trace does not show this command and its answer",
            Self::Gap => "events are missing in the trace here",
            Self::Over => "the trace has no further command of this card",
        })
    }
}

/// A card of a trace, unpowered at first. Its owner treats it like a simulated card.
#[derive(Debug, Clone)]
pub struct ReplayedCard {
    /// All cards of the reader. Never changes.
    cards: Arc<[RecordedCard]>,
    /// The index of this card.
    index: usize,
    /// The number of steps that are done; more than there are after the end of the replay.
    position: usize,
    powered: bool,
}

impl ReplayedCard {
    /// The first of a reader's cards; `None` if there is none.
    pub fn first(cards: Arc<[RecordedCard]>) -> Option<Self> {
        Self { cards, index: 0, position: 0, powered: false }.existing()
    }

    /// The card that is inserted after this one; `None` if this one is the last.
    pub fn next(&self) -> Option<Self> {
        Self { cards: Arc::clone(&self.cards), index: self.index + 1, position: 0, powered: false }.existing()
    }

    fn existing(self) -> Option<Self> {
        self.recorded().is_some().then_some(self)
    }

    fn recorded(&self) -> Option<&RecordedCard> {
        self.cards.get(self.index)
    }

    /// The protocol in use with the card.
    pub fn protocol(&self) -> Protocol {
        self.recorded().map_or(Protocol::T1, |card| card.protocol)
    }

    /// The answer to reset that was recorded.
    pub fn atr(&self) -> Vec<u8> {
        self.recorded().map(|card| card.atr.clone()).unwrap_or_default()
    }

    /// Powers the card on or resets it, and returns the ATR. The sequence of commands goes on where it was.
    pub fn reset(&mut self) -> Vec<u8> {
        self.powered = true;
        self.atr()
    }

    /// Powers the card off. The sequence of commands goes on where it was.
    pub fn power_off(&mut self) {
        self.powered = false;
    }

    /// Whether the card was reset and has not lost power since.
    pub fn powered(&self) -> bool {
        self.powered
    }

    /// Passes a command to the card and returns the recorded reaction, or the end of the replay.
    pub fn transmit(&mut self, bytes: &[u8]) -> Reaction {
        if !self.powered {
            return Reaction::Fail { after: Duration::ZERO };
        }
        match self.answer(bytes) {
            Ok(reaction) => {
                self.position += 1;
                reaction
            }
            Err(end) => {
                // A command that arrives before the card is removed must fail, too.
                self.position = usize::MAX;
                Reaction::ReplayEnded(end)
            }
        }
    }

    /// The reaction to the next command.
    fn answer(&self, bytes: &[u8]) -> Result<Reaction, ReplayEnd> {
        let received = header(bytes);
        let end = |cause, line, expected| ReplayEnd { cause, line, expected, received };
        let step = self.recorded().and_then(|card| card.steps.get(self.position));
        let Some(Step { line, content }) = step else { return Err(end(EndCause::Over, None, None)) };
        match content {
            StepContent::Whole { command, response } if **command == *bytes => {
                let then = self.is_last_step().then(|| self.absence(PAUSE)).flatten();
                Ok(match (response, then) {
                    (Some(answer), then) => Reaction::Answer { answer: answer.clone(), work: Duration::ZERO, then },
                    // The card left during the command.
                    (None, Some(absence)) => Reaction::Leave(Absence { after: Duration::ZERO, ..absence }),
                    (None, None) => Reaction::Fail { after: Duration::ZERO },
                })
            }
            StepContent::Whole { command, .. } => Err(end(EndCause::Differs, Some(*line), header(command))),
            StepContent::Masked { header } if header.is_some() && *header != received => {
                Err(end(EndCause::Differs, Some(*line), *header))
            }
            StepContent::Masked { header } => Err(end(EndCause::Masked, Some(*line), *header)),
            StepContent::Gap => Err(end(EndCause::Gap, Some(*line), None)),
        }
    }

    fn is_last_step(&self) -> bool {
        self.recorded().is_some_and(|card| card.steps.len() == self.position + 1)
    }

    /// The absence of the card after its recorded removal; `None` if it stays.
    fn absence(&self, after: Duration) -> Option<Absence> {
        let is_removed = self.recorded().is_some_and(|card| card.is_removed);
        let back = (self.index + 1 < self.cards.len()).then_some(PAUSE);
        is_removed.then_some(Absence { after, back })
    }
}

/// CLA, INS, P1 and P2 of a command; `None` if the bytes are no command, so that any of them may be a secret.
fn header(bytes: &[u8]) -> Option<[u8; 4]> {
    CommandParts::of(bytes).map(|parts| parts.header)
}

#[cfg(test)]
mod tests;
