//! What a card does about a command, and the faults that a command can ask it for.

use std::time::Duration;

use crate::apdu::ApduBytes;

/// What a card does about a command; its shell acts it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reaction {
    /// It works, answers, and then leaves if `then` says so.
    Answer {
        /// The answer, status word included; a broken card's is too short to be one.
        answer: ApduBytes,
        /// How long it takes.
        work: Duration,
        /// Whether it leaves afterwards.
        then: Option<Absence>,
    },
    /// It leaves without an answer.
    Leave(Absence),
    /// The exchange fails on its way; the card stays.
    Fail {
        /// How long it takes to fail.
        after: Duration,
    },
}

/// A card leaves its reader, and another one may take its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Absence {
    /// When it leaves, from now.
    pub after: Duration,
    /// How long the reader stays empty; None: for ever.
    pub back: Option<Duration>,
}

impl Reaction {
    pub(super) fn answer(data: &[u8], status: u16, work: Duration) -> Self {
        Self::Answer { answer: [data, &status.to_be_bytes()].concat().into(), work, then: None }
    }
}

/// A fault on demand.
pub(super) enum Fault {
    Leave { answered: bool, absence: Absence },
    Mute { resets: u16 },
    Fail { after: Duration },
    ShortAnswer,
    Hang { time: Duration },
}

impl Fault {
    /// Decodes the command's P1 and data (see the table of the card); None if there is no such fault.
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

    /// What the shell is to do, for a card whose commands take `work`.
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
