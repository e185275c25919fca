//! The view that a trace gives of commands. If a command presents a secret, or may, nothing in it depends on the length
//! of its data: neither a length, nor the exact duration, nor a status word that a card gives for its format.

mod level;
mod mask;

use std::{fmt, time::Duration};

pub use self::{level::ShownRules, mask::ExchangeMask};
use crate::apdu::{ApduBytes, StatusWord};

/// The unit to which durations of commands with secrets are rounded up.
pub const ROUNDED_TO: Duration = Duration::from_millis(50);

/// The range of lengths of an application's identifier (ISO 7816-4 §12.3.4).
const APPLICATION_BYTES: std::ops::RangeInclusive<usize> = 5..=16;

/// A command and its answer as operators with the permission `trace` see them. Has a `Debug` without bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandView {
    /// CLA, INS, P1 and P2; `None` if the command cannot be parsed.
    pub header: Option<[u8; 4]>,
    /// Ne, 1–65,536; `None` without Le, and for commands that may present a secret.
    pub expected_length: Option<u32>,
    /// The application that SELECT names.
    pub application: Option<ApplicationId>,
    /// The status word; `None` if the card did not answer, or the command cannot be parsed.
    pub word: Option<ShownWord>,
    /// The duration of the call of the driver, rounded up for commands that may present a secret.
    pub duration: Duration,
    /// Whether more exists than the fields above show.
    pub hides_data: bool,
}

/// The bytes that operators with the permission `trace_data` see of a command and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownData {
    /// The whole command, as it was sent.
    pub command: ApduBytes,
    /// The whole response with its status word; `None` if the card did not answer.
    pub response: Option<ApduBytes>,
}

/// The identifier of an application, 5–16 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ApplicationId {
    bytes: [u8; 16],
    length: u8,
}

/// A status word as a trace shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShownWord {
    /// As the card has sent it.
    Word(StatusWord),
    /// `63Cx`: a secret was wrong, and this number of tries is left, 0–15.
    WrongSecret(u8),
    /// A command that may present a secret was refused in another way.
    Error,
}

impl fmt::Debug for CommandView {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CommandView").field("duration", &self.duration).finish_non_exhaustive()
    }
}

impl fmt::Debug for ApplicationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

impl ApplicationId {
    /// The identifier in the data of a SELECT; `None` if their number is out of range.
    fn new(data: &[u8]) -> Option<Self> {
        let length = u8::try_from(data.len()).ok().filter(|_| APPLICATION_BYTES.contains(&data.len()))?;
        let mut bytes = [0; 16];
        bytes.get_mut(..data.len())?.copy_from_slice(data);
        Some(Self { bytes, length })
    }

    /// The bytes of the identifier.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

impl ShownWord {
    /// The view of a command after one that may present a secret.
    fn after_secret(word: StatusWord) -> Self {
        match word.0 {
            0x9000 => Self::Word(word),
            _ if word.offers_data() => Self::Word(StatusWord(0x9000)),
            0x63C0..=0x63CF => Self::WrongSecret(word.0.to_be_bytes()[1] & 0x0F),
            _ => Self::Error,
        }
    }

    /// The text: four hexadecimal digits, `63Cx` or `error`. The digit of `63Cx` is shown only if `shows_tries`.
    pub fn text(self, shows_tries: bool) -> String {
        match self {
            Self::Word(word) => format!("{word:?}"),
            Self::WrongSecret(tries) if shows_tries => format!("63C{tries:X}"),
            Self::WrongSecret(_) => "63Cx".to_owned(),
            Self::Error => "error".to_owned(),
        }
    }
}

/// Rounds up to a whole number of [`ROUNDED_TO`], at least one.
fn rounded(duration: Duration) -> Duration {
    let units = duration.as_nanos().div_ceil(ROUNDED_TO.as_nanos()).max(1);
    ROUNDED_TO.saturating_mul(u32::try_from(units).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
