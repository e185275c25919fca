//! The simulated card: a pure state machine without clock or I/O. The simulated readers run it inside the process, the
//! tests plug the same card into a real pcscd. A [`ReplayedCard`] answers as a trace has recorded it instead.
//!
//! All numbers are hexadecimal. `Le` is the number of bytes wanted; times are in ms, two bytes, big-endian. No command
//! needs the application to be selected.
//!
//! | Command | Effect | Response |
//! | --- | --- | --- |
//! | `00 A4 04 00 06 F0 43 41 52 44 01 [Le]` | SELECT the application F0 "CARD" 01 | `61 13`; another AID `6A 82` |
//! | `00 C0 00 00 Le` | GET RESPONSE, directly after a `61 xx` only | the next bytes; else `6D 00` |
//! | `00 B2 01 04 10` | READ RECORD 1 | 16 bytes; with another Le `6C 10` |
//! | `00 B0 <offset, 2> Le` | READ BINARY of the file of 1,000 bytes (byte n = n mod 251) | up to Le bytes |
//! | `00 B0 81 <offset, 1> Le` | READ BINARY, protected file of 32 bytes | up to Le bytes; `69 82` unless verified |
//! | `00 CA 01 00 00` | GET DATA, an object of 700 bytes | `61 00`, then `61 00` and `61 BC` with the data |
//! | `00 20 00 80 08 <PIN>` | VERIFY, the PIN is "12345678" | `90 00`, `63 Cx` (x tries left), `69 83` when blocked |
//! | `00 20 00 80` | VERIFY without PIN: the state | `90 00` if verified, else as above |
//! | `00 20 00 80 08 <PIN> <2 bytes or more>` | VERIFY with bytes too many, which a T=1 card overlooks | as above |
//! | `00 24 00 80 10 <PIN> <new PIN>` | CHANGE REFERENCE DATA | as VERIFY; with `90 00` the new PIN holds |
//! | `80 10 00 00 04` | COUNT: the commands received, this one too | 4 bytes, big-endian; with another Le `6C 04` |
//! | `80 12 00 00 04` | INCREMENT: add 1 to the debit counter | its value, 4 bytes; with another Le `6C 04` |
//! | `80 14 00 00 Lc <data> Le` | ECHO, short or extended | the data, by `61 xx` what Le does not cover |
//! | `80 16 00 00 02 <time>` | SLOW: works that long | `90 00` |
//! | `80 18 00 00 [00]` | CONTINUE: offers 5 bytes that only INS A5 fetches | `61 05` |
//! | `80 A5 00 00 Le` | fetches them (also in class 00) | the bytes |
//! | `80 1A <class> <keep> 00` | OFFER: 5 bytes that GET RESPONSE fetches in that class alone, see below | `61 05` |
//! | `80 1C <SW1> <SW2>` | STATUS WORD, without an effect | this status word |
//! | `80 F0 <kind> 00 04 <a> <b>` | a fault, see below | |
//!
//! The data of OFFER is lost after a GET RESPONSE in another class, which is answered `6E 00`, unless `keep` is another
//! number than 00.
//!
//! | Kind | Fault |
//! | --- | --- |
//! | 01 | the card leaves after `a` without an answer; after `b` more a new card comes (`FF FF`: none) |
//! | 02 | `90 00`, then as 01 |
//! | 03 | `90 00`, then at once a new card in its place |
//! | 04 | `90 00`, then the next `a` resets stay without answer |
//! | 05 | hangs for `a`, then the exchange fails |
//! | 06 | the exchange fails at once |
//! | 07 | a response of one byte |
//! | 08 | hangs for `a`, then `90 00` |
//!
//! A reset takes away the verified PIN and a pending answer, nothing else. On T=0 the card takes TPDUs only: five bytes
//! and exactly P3 bytes of data, anything else is `67 00`; an Le that is too large is `6C xx`; an answer to a command
//! with data comes by `61 xx`. Unknown instructions are `6D 00`, unknown classes `6E 00`.

mod atr;
mod command;
mod fault;
mod offered;
mod pin;
mod recording;
mod replay;
#[cfg(test)]
mod tests;

use std::time::Duration;

use command::Command;
use fault::Fault;
pub use fault::{Absence, Reaction};
use offered::Offered;
use pin::Pin;
pub use recording::{RecordedCard, Recording, Step, StepContent};
pub use replay::{EndCause, PAUSE, ReplayEnd, ReplayedCard};

use crate::slot::Protocol;

/// The application that SELECT finds: F0 "CARD" 01.
const AID: [u8; 6] = [0xF0, b'C', b'A', b'R', b'D', 0x01];
const PIN: &[u8] = b"12345678";
const RECORD: [u8; 16] = *b"Simulated record";
const PROTECTED: [u8; 32] = *b"Only for those who know the PIN.";
const FILE_BYTES: usize = 1000;
const OBJECT_BYTES: usize = 700;

const GET_RESPONSE: u8 = 0xC0;
const CONTINUE: u8 = 0xA5;

const OK: u16 = 0x9000;
const WRONG_LENGTH: u16 = 0x6700;
const NOT_VERIFIED: u16 = 0x6982;
const NOT_FOUND: u16 = 0x6A82;
const NO_RECORD: u16 = 0x6A83;
const WRONG_PARAMETERS: u16 = 0x6A86;
const NO_DATA_OBJECT: u16 = 0x6A88;
const WRONG_OFFSET: u16 = 0x6B00;
const UNKNOWN_INSTRUCTION: u16 = 0x6D00;
const UNKNOWN_CLASS: u16 = 0x6E00;

/// The properties of a new simulated card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CardOptions {
    /// T=0 accepts only TPDUs; any other protocol makes a T=1 card.
    pub protocol: Protocol,
    /// Distinguishes cards: in the ATR's historical bytes and at the end of the FCI.
    pub serial: u32,
    /// The duration of a reset.
    pub reset_time: Duration,
    /// The minimum duration of every command, added to the command's own duration.
    pub command_time: Duration,
    /// The PIN of a new card, 8 bytes.
    pub pin: &'static [u8],
}

impl Default for CardOptions {
    fn default() -> Self {
        Self { protocol: Protocol::T1, serial: 0, reset_time: Duration::ZERO, command_time: Duration::ZERO, pin: PIN }
    }
}

/// A card, unpowered at first. Its owner passes it power changes, resets and commands, and carries out its reactions.
pub struct SimulatedCard {
    options: CardOptions,
    powered: bool,
    /// The number of next resets without an answer.
    mute_resets: u16,
    pin: Pin,
    received: u32,
    debits: u32,
    offered: Option<Offered>,
}

impl SimulatedCard {
    /// Creates an unpowered card with a fresh PIN and counters at zero.
    pub fn new(options: CardOptions) -> Self {
        Self {
            pin: Pin::new(options.pin),
            options,
            powered: false,
            mute_resets: 0,
            received: 0,
            debits: 0,
            offered: None,
        }
    }

    /// The options of this card's creation.
    pub fn options(&self) -> &CardOptions {
        &self.options
    }

    /// The answer to reset that the card gives when it is not mute: 10 bytes on T=0, 12 on T=1.
    pub fn atr(&self) -> Vec<u8> {
        atr::atr(self.options.protocol, self.options.serial)
    }

    /// Powers the card on or resets it. Returns the ATR; `None` if the card is mute.
    pub fn reset(&mut self) -> Option<Vec<u8>> {
        self.power_off();
        if let Some(left) = self.mute_resets.checked_sub(1) {
            self.mute_resets = left;
            return None;
        }
        self.powered = true;
        Some(self.atr())
    }

    /// Powers the card off; the verified PIN and a pending response are lost.
    pub fn power_off(&mut self) {
        (self.powered, self.offered) = (false, None);
        self.pin.on_reset();
    }

    /// Whether the card has answered a reset and not lost power since.
    pub fn powered(&self) -> bool {
        self.powered
    }

    /// Runs a command APDU (on T=0 a TPDU) and returns the card's reaction.
    pub fn transmit(&mut self, bytes: &[u8]) -> Reaction {
        if !self.powered {
            return Reaction::Fail { after: Duration::ZERO };
        }
        self.received = self.received.wrapping_add(1);
        let offered = self.offered.take();
        let work = self.options.command_time;
        let Some(command) = Command::parse(self.options.protocol, bytes) else {
            return Reaction::answer(&[], WRONG_LENGTH, work);
        };
        match (command.class, command.instruction) {
            (0x80, 0xF0) => self.fault(&command, work),
            (0x80, 0x16) => match <[u8; 2]>::try_from(command.data) {
                Ok(time) => Reaction::answer(&[], OK, work + fault::milliseconds(time)),
                Err(_) => Reaction::answer(&[], WRONG_LENGTH, work),
            },
            _ => {
                let (data, status) = match self.execute(&command, offered) {
                    Ok(data) => self.fit(data, &command),
                    Err(status) => (Vec::new(), status),
                };
                Reaction::answer(&data, status, work)
            }
        }
    }

    fn fault(&mut self, command: &Command<'_>, work: Duration) -> Reaction {
        match Fault::decode(command.p1, command.data) {
            Some(Fault::Mute { resets }) => {
                self.mute_resets = resets;
                Reaction::answer(&[], OK, work)
            }
            Some(fault) => fault.reaction(work),
            None if command.data.len() == 4 => Reaction::answer(&[], WRONG_PARAMETERS, work),
            None => Reaction::answer(&[], WRONG_LENGTH, work),
        }
    }

    /// The whole response to a command, or a status word alone.
    fn execute(&mut self, command: &Command<'_>, offered: Option<Offered>) -> Result<Vec<u8>, u16> {
        match (command.class, command.instruction) {
            (_, GET_RESPONSE | CONTINUE) => self.fetch(command, offered),
            (0x00, 0xA4) => self.select(command),
            (0x00, 0xB2) if (command.p1, command.p2) == (1, 4) => exactly(&RECORD, command),
            (0x00, 0xB2) => Err(NO_RECORD),
            (0x00, 0xB0) => self.read_binary(command),
            (0x00, 0xCA) if (command.p1, command.p2) == (1, 0) => {
                Err(self.offer((0..OBJECT_BYTES).map(|n| (n % 241) as u8).collect(), GET_RESPONSE))
            }
            (0x00, 0xCA) => Err(NO_DATA_OBJECT),
            (0x00, 0x20) => Err(self.pin.verify(command)),
            (0x00, 0x24) => Err(self.pin.change(command)),
            (0x80, 0x10) => exactly(&self.received.to_be_bytes(), command),
            (0x80, 0x12) => {
                let debits = self.debits.wrapping_add(1);
                let answer = exactly(&debits.to_be_bytes(), command)?;
                self.debits = debits;
                Ok(answer)
            }
            (0x80, 0x14) => Ok(command.data.to_vec()),
            (0x80, 0x18) => Err(self.offer(b"chain".to_vec(), CONTINUE)),
            (0x80, 0x1C) => Err(u16::from_be_bytes([command.p1, command.p2])),
            (0x80, 0x1A) => Err(self.offered.insert(Offered::picky(command.p1, command.p2 != 0)).status()),
            (0x00 | 0x80, _) => Err(UNKNOWN_INSTRUCTION),
            _ => Err(UNKNOWN_CLASS),
        }
    }

    fn select(&mut self, command: &Command<'_>) -> Result<Vec<u8>, u16> {
        match (command.p1, command.data == AID) {
            (4, true) => Err(self.offer(atr::fci(&AID, self.options.serial), GET_RESPONSE)),
            (4, false) => Err(NOT_FOUND),
            _ => Err(WRONG_PARAMETERS),
        }
    }

    fn read_binary(&self, command: &Command<'_>) -> Result<Vec<u8>, u16> {
        let le = command.le.ok_or(WRONG_LENGTH)?;
        let part = |file: &[u8], offset: usize| {
            let rest = file.get(offset..).filter(|rest| !rest.is_empty()).ok_or(WRONG_OFFSET)?;
            Ok(rest[..le.min(rest.len())].to_vec())
        };
        match command.p1 {
            0x81 if !self.pin.is_verified() => Err(NOT_VERIFIED),
            0x81 => part(&PROTECTED, command.p2.into()),
            0x80.. => Err(NOT_FOUND),
            high => {
                let file: Vec<u8> = (0..FILE_BYTES).map(|n| (n % 251) as u8).collect();
                part(&file, u16::from_be_bytes([high, command.p2]).into())
            }
        }
    }
}

/// Returns `data` if the command's Le is its length; otherwise nothing has run.
fn exactly(data: &[u8], command: &Command<'_>) -> Result<Vec<u8>, u16> {
    match command.le {
        Some(le) if le == data.len() => Ok(data.to_vec()),
        Some(_) => Err(0x6C00 | data.len() as u16),
        None => Err(WRONG_LENGTH),
    }
}
