//! The links of a command chain that presents a PIN (ISO 7816-4 §5.3.3), joined until the last one comes.

use crate::{
    apdu::{ApduBytes, CommandApdu},
    error::Reason,
};

/// The most bytes of all links together. A longer chain is not compared.
const MAX_BYTES: usize = 1024;

/// The bit of a class that marks every link but the last.
const CHAINING: u8 = 0x10;

/// An open chain. The bytes are wiped when it is dropped. Has no `Debug`.
pub(super) struct Chain {
    /// Class, without the chaining bit, and instruction.
    head: [u8; 2],
    parameters: [u8; 2],
    /// `None` if they cannot be compared.
    data: Option<ApduBytes>,
    /// Why the guard has refused the last link, if it has. The card still has the links before.
    pub(super) refused: Option<Reason>,
}

impl Chain {
    /// The chain after the card has received `link`, which continues `before` or begins a chain.
    pub(super) fn with(before: Option<Self>, link: &CommandApdu) -> Self {
        let [class, instruction, p1, p2] = link.header();
        let (head, parameters) = ([class & !CHAINING, instruction], [p1, p2]);
        let joined = match before.filter(|chain| chain.head == head) {
            None => Some(link.data().into()),
            Some(chain) => chain.joined(link),
        };
        Self { head, parameters, data: joined.filter(|data: &ApduBytes| data.len() <= MAX_BYTES), refused: None }
    }

    /// The data of the chain with those of `last`; `None` if they cannot be compared.
    pub(super) fn joined(&self, last: &CommandApdu) -> Option<ApduBytes> {
        let [_, _, parameters @ ..] = last.header();
        let data = self.data.as_ref().filter(|_| self.parameters == parameters)?;
        Some(ApduBytes::concat([data, last.data()]))
    }

    /// Whether the card takes `command` for a part of the chain.
    pub(super) fn is_continued_by(&self, command: &[u8]) -> bool {
        matches!(command, [class, instruction, ..] if [class & !CHAINING, *instruction] == self.head)
    }
}
