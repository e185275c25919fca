//! The simulated card's PIN: its value, its remaining tries, and whether it is verified.

use zeroize::Zeroizing;

use super::{OK, WRONG_LENGTH, WRONG_PARAMETERS, command::Command};

const TRIES: u8 = 3;

pub(super) const BLOCKED: u16 = 0x6983;

/// Has no `Debug`: the value is secret.
pub(super) struct Pin {
    value: Zeroizing<Box<[u8]>>,
    tries_left: u8,
    is_verified: bool,
}

impl Pin {
    pub(super) fn new(value: &[u8]) -> Self {
        Self { value: Zeroizing::new(value.into()), tries_left: TRIES, is_verified: false }
    }

    pub(super) fn is_verified(&self) -> bool {
        self.is_verified
    }

    pub(super) fn on_reset(&mut self) {
        self.is_verified = false;
    }

    /// VERIFY. Returns the status word.
    pub(super) fn verify(&mut self, command: &Command<'_>) -> u16 {
        match (command.p1, command.p2, command.data) {
            (0x00, 0x80, []) if self.is_verified => OK,
            (0x00, 0x80, []) if self.tries_left == 0 => BLOCKED,
            (0x00, 0x80, []) => self.tries(),
            (0x00, 0x80, value) => self.compare(value),
            _ => WRONG_PARAMETERS,
        }
    }

    /// CHANGE REFERENCE DATA. Returns the status word.
    pub(super) fn change(&mut self, command: &Command<'_>) -> u16 {
        if (command.p1, command.p2) != (0x00, 0x80) {
            return WRONG_PARAMETERS;
        }
        let Some((value, new)) = command.data.split_at_checked(self.value.len()) else { return WRONG_LENGTH };
        if new.len() != value.len() {
            return WRONG_LENGTH;
        }
        let status = self.compare(value);
        if status == OK {
            self.value.copy_from_slice(new);
        }
        status
    }

    fn compare(&mut self, value: &[u8]) -> u16 {
        if value.len() != self.value.len() {
            return WRONG_LENGTH;
        }
        if self.tries_left == 0 {
            return BLOCKED;
        }
        self.is_verified = *value == **self.value;
        if self.is_verified {
            self.tries_left = TRIES;
            return OK;
        }
        self.tries_left -= 1;
        self.tries()
    }

    /// The status word with the number of remaining tries.
    fn tries(&self) -> u16 {
        0x63C0 | u16::from(self.tries_left)
    }
}
