//! The class byte of a command (ISO 7816-4 §5.4.1).

/// A class byte: CLA tells the industry that defines the command. In interindustry classes it also tells the logical
/// channel, chaining and secure messaging.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class(pub u8);

impl Class {
    /// Whether the class is one of the first interindustry values `00`–`1F`.
    fn is_first_interindustry(self) -> bool {
        self.0 & 0xE0 == 0x00
    }

    /// Whether the class is one of the further interindustry values `40`–`7F`.
    fn is_further_interindustry(self) -> bool {
        self.0 & 0xC0 == 0x40
    }

    /// Whether the command is protected by secure messaging. Known for interindustry classes only; `false` for others.
    pub fn has_secure_messaging(self) -> bool {
        if self.is_first_interindustry() {
            self.0 & 0x0C != 0
        } else {
            self.is_further_interindustry() && self.0 & 0x20 != 0
        }
    }

    /// Like [`Class::has_secure_messaging`], but also true for proprietary classes with the bits that GlobalPlatform
    /// (Card Specification 2.3.1 §11.1.4) uses for it. Conservative: may report secure messaging where there is none.
    pub fn may_have_secure_messaging(self) -> bool {
        let indication = if self.0 & 0x40 == 0 { 0x0C } else { 0x20 };
        self.0 != 0xFF && self.0 & indication != 0
    }

    /// Whether the command is a link of a chain, but not the last one. Proprietary classes of card operating systems
    /// (`9x`, GlobalPlatform `8x`) use the same bit, so it counts there too; a false positive only makes the broker
    /// more careful.
    pub fn is_chaining(self) -> bool {
        self.0 != 0xFF && self.0 & 0x10 != 0
    }

    /// Whether the class is interindustry, so that ISO 7816-4 defines the meaning of its bits.
    pub fn is_interindustry(self) -> bool {
        self.is_first_interindustry() || self.is_further_interindustry()
    }

    /// The logical channel of the command, 0–19. `None` for classes that are not interindustry.
    pub fn logical_channel(self) -> Option<u8> {
        if self.is_first_interindustry() {
            Some(self.0 & 0x03)
        } else if self.is_further_interindustry() {
            Some(4 + (self.0 & 0x0F))
        } else {
            None
        }
    }

    /// The class of a GET RESPONSE where the application answered `61xx`, as on T=1 and contactless: the same logical
    /// channel, without secure messaging and chaining. GlobalPlatform's classes `80`–`8F` and `E0`–`EF` lose secure
    /// messaging; all others stay the same.
    pub fn fetching_from_application(self) -> Self {
        match self.0 {
            0x00..=0x1F => Self(self.0 & 0x03),
            0x40..=0x7F => Self(0x40 | self.0 & 0x0F),
            0x80..=0x8F => Self(0x80 | self.0 & 0x03),
            0xE0..=0xEF => Self(0xC0 | self.0 & 0x0F),
            _ => self,
        }
    }

    /// The class of a GET RESPONSE where `61xx` is part of the transport, as on T=0. GlobalPlatform's classes become
    /// the interindustry class of their logical channel; all others behave as in [`Class::fetching_from_application`].
    pub fn fetching_from_transport(self) -> Self {
        match self.0 {
            0x80..=0x8F => Self(self.0 & 0x03),
            0xE0..=0xEF => Self(0x40 | self.0 & 0x0F),
            _ => self.fetching_from_application(),
        }
    }

    /// Whether commands of both classes have the same destination: the reader (`FF`), or the same logical channel of
    /// the card. Proprietary classes are read as GlobalPlatform defines them: the channel is in the low two bits, or in
    /// the low four where bit 7 is set.
    pub fn shares_channel_with(self, other: Self) -> bool {
        self.presumed_channel() == other.presumed_channel()
    }

    fn presumed_channel(self) -> Option<u8> {
        match self.0 {
            0xFF => None,
            class if class & 0x40 == 0 => Some(class & 0x03),
            class => Some(4 + (class & 0x0F)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn get_response_keeps_the_channel_and_drops_the_rest() {
        for (class, application, transport) in [
            (0x00, 0x00, 0x00),
            (0x1F, 0x03, 0x03),
            (0x0C, 0x00, 0x00),
            (0x12, 0x02, 0x02),
            (0x40, 0x40, 0x40),
            (0x7F, 0x4F, 0x4F),
            (0x65, 0x45, 0x45),
            (0x80, 0x80, 0x00),
            (0x84, 0x80, 0x00),
            (0x8D, 0x81, 0x01),
            (0x82, 0x82, 0x02),
            (0xE0, 0xC0, 0x40),
            (0xE5, 0xC5, 0x45),
        ] {
            assert_eq!(Class(class).fetching_from_application(), Class(application), "{class:02X}");
            assert_eq!(Class(class).fetching_from_transport(), Class(transport), "{class:02X}");
        }
        for unchanged in [0x20, 0x3F, 0x90, 0x94, 0xA0, 0xB4, 0xC0, 0xCF, 0xD4, 0xF0, 0xFF] {
            assert_eq!(Class(unchanged).fetching_from_application(), Class(unchanged));
            assert_eq!(Class(unchanged).fetching_from_transport(), Class(unchanged));
        }
    }

    #[test]
    fn get_response_goes_where_the_command_went() {
        for class in (0..=u8::MAX).map(Class) {
            for fetching in [class.fetching_from_application(), class.fetching_from_transport()] {
                assert!(class.shares_channel_with(fetching), "{class:?} {fetching:?}");
            }
        }
        for (one, other) in [(0x00, 0x01), (0x80, 0x81), (0x00, 0x40), (0xC0, 0x00), (0xFF, 0x4F), (0xFF, 0x00)] {
            assert!(!Class(one).shares_channel_with(Class(other)), "{one:02X} {other:02X}");
        }
    }

    #[test]
    fn secure_messaging_is_read_where_the_standard_defines_it() {
        for (class, expected) in [
            (0x00, false),
            (0x04, true),
            (0x08, true),
            (0x0C, true),
            (0x40, false),
            (0x4F, false),
            (0x60, true),
            (0xFF, false),
        ] {
            assert_eq!(Class(class).has_secure_messaging(), expected, "{class:02X}");
        }
    }

    #[test]
    fn there_are_twenty_logical_channels() {
        for (class, channel) in [(0x00, 0), (0x1F, 3), (0x0D, 1), (0x40, 4), (0x4F, 19), (0x7F, 19), (0x65, 9)] {
            assert_eq!(Class(class).logical_channel(), Some(channel), "{class:02X}");
        }
        for silent in [0x20, 0x3F, 0x80, 0xA0, 0xFF] {
            assert_eq!(Class(silent).logical_channel(), None, "{silent:02X}");
        }
    }

    #[test]
    fn a_reader_command_is_no_link_of_a_chain() {
        assert!(Class(0x10).is_chaining() && Class(0x50).is_chaining() && Class(0x90).is_chaining());
        assert!(!Class(0x00).is_chaining() && !Class(0xFF).is_chaining());
    }
}
