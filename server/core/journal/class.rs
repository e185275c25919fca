//! The class of a command and the way it ended, which operators see without permission for more.

use crate::apdu::{Class, CommandApdu, StatusWord, StopRule};

/// The kind of a command, by its instruction (ISO 7816-4:2013 §5.4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommandClass {
    /// Selects an application or a file, or opens a logical channel.
    Select,
    /// Reads data objects, files or random numbers.
    Read,
    /// Presents or changes a secret, or authenticates.
    Verify,
    /// Uses a key that stays in the card.
    Sign,
    /// Writes data, or administers files and keys.
    Manage,
    /// Everything else, and everything that is not certain.
    Other,
}

/// How a command ended, as far as operators see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommandEnd {
    /// The card answered with a status word after which a unit continues by default.
    Well,
    /// The card answered with another status word.
    Refused,
    /// The card did not answer.
    Failed,
}

impl CommandClass {
    /// All classes, from the most harmless one.
    pub const ALL: [Self; 6] = [Self::Select, Self::Read, Self::Verify, Self::Sign, Self::Manage, Self::Other];

    /// The class of a command. Bytes that are no APDU, commands to the reader, proprietary classes and secure messaging
    /// are [`CommandClass::Other`], because their instruction may mean anything.
    pub fn of(command: &[u8]) -> Self {
        let [class, instruction, ..] = *command else { return Self::Other };
        let is_standard = class & 0x80 == 0 && !Class(class).may_have_secure_messaging();
        if !is_standard || !CommandApdu::is_apdu(command) {
            return Self::Other;
        }
        match instruction {
            0xA4 | 0x70 => Self::Select,
            0xB0..=0xB3 | 0xC0 | 0xCA..=0xCC | 0xA0..=0xA2 | 0x84 => Self::Read,
            0x20 | 0x21 | 0x24..=0x29 | 0x2C | 0x2D | 0x82 | 0x86 | 0x87 => Self::Verify,
            0x2A | 0x2B | 0x88 | 0x89 => Self::Sign,
            0x04 | 0x08 | 0x0C..=0x0F | 0x22 | 0x44 | 0x46 | 0x47 | 0xD0..=0xD7 | 0xDA..=0xDD | 0xE0..=0xE8 | 0xFE => {
                Self::Manage
            }
            _ => Self::Other,
        }
    }

    /// The name for people and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Select => "select",
            Self::Read => "read",
            Self::Verify => "verify",
            Self::Sign => "sign",
            Self::Manage => "manage",
            Self::Other => "other",
        }
    }
}

impl CommandEnd {
    /// The end of a command with this response.
    pub fn of_response(response: &[u8]) -> Self {
        let Some((_, word)) = StatusWord::split(response) else { return Self::Failed };
        if StopRule::Default.lets_unit_go_on(word) { Self::Well } else { Self::Refused }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_follows_the_instruction_in_interindustry_classes_only() {
        let table: [(&[u8], CommandClass); 12] = [
            (&[0x00, 0xA4, 0x04, 0x00], CommandClass::Select),
            (&[0x01, 0x70, 0x00, 0x00, 0x01], CommandClass::Select),
            (&[0x40, 0xB0, 0x00, 0x00, 0x10], CommandClass::Read),
            (&[0x00, 0x20, 0x00, 0x80, 0x01, 0x31], CommandClass::Verify),
            (&[0x10, 0x24, 0x00, 0x80, 0x01, 0x31], CommandClass::Verify),
            (&[0x00, 0x2A, 0x9E, 0x9A, 0x01, 0x00, 0x00], CommandClass::Sign),
            (&[0x00, 0xD6, 0x00, 0x00, 0x01, 0x00], CommandClass::Manage),
            (&[0x80, 0x20, 0x00, 0x80, 0x01, 0x31], CommandClass::Other),
            (&[0x0C, 0xB0, 0x00, 0x00], CommandClass::Other),
            (&[0xFF, 0xCA, 0x00, 0x00, 0x00], CommandClass::Other),
            (&[0x00, 0xA4], CommandClass::Other),
            (&[0x00, 0x20, 0x00, 0x80, 0x09, 0x31], CommandClass::Other),
        ];
        for (command, class) in table {
            assert_eq!(CommandClass::of(command), class, "{command:02X?}");
        }
    }

    #[test]
    fn a_command_ends_well_if_a_unit_continues_after_it() {
        let ends = [&[0x01, 0x90, 0x00][..], &[0x61, 0x10], &[0x63, 0xC2], &[0x6A, 0x82], &[0x90], &[]];
        let [well, offers, wrong, missing, short, empty] = ends.map(CommandEnd::of_response);
        assert_eq!([well, offers], [CommandEnd::Well; 2]);
        assert_eq!([wrong, missing], [CommandEnd::Refused; 2]);
        assert_eq!([short, empty], [CommandEnd::Failed; 2]);
    }
}
