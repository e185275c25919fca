//! The card's reactions to commands, and the faults that a command can request.

use std::time::Duration;

use super::ReplayEnd;
use crate::apdu::ApduBytes;

/// The card's reaction to a command; its owner (a slot or a reader) carries it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reaction {
    /// The card works, answers, and then leaves if `then` is set.
    Answer {
        /// The response, status word included; a faulty card's is shorter than a status word.
        answer: ApduBytes,
        /// The time until the response.
        work: Duration,
        /// The absence after the response, if any.
        then: Option<Absence>,
    },
    /// The card leaves without a response.
    Leave(Absence),
    /// The exchange fails in transport; the card stays.
    Fail {
        /// The time until the failure.
        after: Duration,
    },
    /// A replay has ended: the card leaves for good without a response.
    ReplayEnded(ReplayEnd),
}

/// A card leaves its reader, and another one may replace it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Absence {
    /// The time from now until the card leaves.
    pub after: Duration,
    /// How long the reader stays empty; `None` means forever.
    pub back: Option<Duration>,
}

impl Reaction {
    pub(super) fn answer(data: &[u8], status: u16, work: Duration) -> Self {
        Self::Answer { answer: [data, &status.to_be_bytes()].concat().into(), work, then: None }
    }
}

/// A fault that a command requests.
pub(super) enum Fault {
    Leave { answered: bool, absence: Absence },
    Mute { resets: u16 },
    Fail { after: Duration },
    ShortAnswer,
    Hang { time: Duration },
}

impl Fault {
    /// Decodes the command's P1 and data (see the card's table); `None` if there is no such fault.
    pub(super) fn decode(kind: u8, data: &[u8]) -> Option<Self> {
        let &[a0, a1, b0, b1] = data else { return None };
        let a = [a0, a1];
        let back = Some([b0, b1]).filter(|time| *time != [0xFF; 2]).map(milliseconds);
        let at_once = Absence { after: Duration::ZERO, back: Some(Duration::ZERO) };
        Some(match kind {
            1 | 2 => Self::Leave { answered: kind == 2, absence: Absence { after: milliseconds(a), back } },
            3 => Self::Leave { answered: true, absence: at_once },
            4 => Self::Mute { resets: u16::from_be_bytes(a) },
            5 => Self::Fail { after: milliseconds(a) },
            6 => Self::Fail { after: Duration::ZERO },
            7 => Self::ShortAnswer,
            8 => Self::Hang { time: milliseconds(a) },
            _ => return None,
        })
    }

    /// The reaction of a card whose commands take `work`.
    pub(super) fn reaction(self, work: Duration) -> Reaction {
        let success = || [0x90, 0x00][..].into();
        match self {
            Self::Leave { answered: false, absence } => Reaction::Leave(absence),
            Self::Leave { answered: true, absence } => {
                Reaction::Answer { answer: success(), work, then: Some(absence) }
            }
            Self::Mute { .. } => Reaction::Answer { answer: success(), work, then: None },
            Self::Fail { after } => Reaction::Fail { after },
            Self::ShortAnswer => Reaction::Answer { answer: [0x90][..].into(), work, then: None },
            Self::Hang { time } => Reaction::Answer { answer: success(), work: work + time, then: None },
        }
    }
}

pub(super) fn milliseconds(time: [u8; 2]) -> Duration {
    Duration::from_millis(u16::from_be_bytes(time).into())
}
