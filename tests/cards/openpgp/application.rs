//! The application of the card: its PINs and their retry counters (OpenPGP card 3.4 §7.2), as far as stories need them.

use cardbroker_core::apdu::{CommandApdu, data_objects};

use super::signer::Signer;

/// The whole name of the application (AID).
pub const NAME: &[u8] = b"\xD2\x76\x00\x01\x24\x01\x03\x04\x00\x06\x12\x34\x56\x78\x00\x00";
/// The user PIN of a new card.
pub const PW1: &str = "123456";
/// The administrator PIN of a new card.
pub const PW3: &str = "12345678";
/// The resetting code of a new card.
pub const RESETTING_CODE: &str = "87654321";

const TRIES: u8 = 3;
/// The finger that is right: the number of questions until it is shown.
const RIGHT_FINGER: u8 = 3;

const OK: u16 = 0x9000;
const BLOCKED: u16 = 0x6983;
const NOT_SATISFIED: u16 = 0x6982;
const WRONG_PARAMETERS: u16 = 0x6A86;

/// The differences between real cards.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traits {
    /// A wrong PIN is answered with `6982`. Otherwise VERIFY says `63Cx` and all else `6300`.
    pub hides_tries: bool,
    /// SELECT is answered without the application's name.
    pub hides_name: bool,
}

/// The remaining tries of each secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    /// Of the user PIN, under both references.
    pub pw1: u8,
    /// Of the resetting code for PW1.
    pub code: u8,
    /// Of the administrator's PIN, reference 83.
    pub pw3: u8,
}

struct Secret {
    value: Vec<u8>,
    tries: u8,
    is_verified: bool,
}

impl Secret {
    fn new(value: &str) -> Self {
        Self { value: value.as_bytes().to_vec(), tries: TRIES, is_verified: false }
    }

    /// Compares a value; a wrong one costs a try.
    fn compare(&mut self, value: &[u8]) -> Result<(), ()> {
        self.is_verified = self.tries > 0 && self.value == value;
        self.tries = if self.is_verified { TRIES } else { self.tries.saturating_sub(1) };
        if self.is_verified { Ok(()) } else { Err(()) }
    }

    /// Compares the beginning of `data`, as many bytes as its own value has; returns the rest.
    fn compare_before<'a>(&mut self, data: &'a [u8]) -> Result<&'a [u8], ()> {
        let (old, new) = data.split_at_checked(self.value.len()).unwrap_or((data, &[]));
        self.compare(old).map(|()| new)
    }
}

/// The application and its state.
pub(super) struct Application {
    traits: Traits,
    /// The signature key, on a card that has one.
    signer: Option<Signer>,
    pw1: Secret,
    code: Secret,
    pw3: Secret,
    fingers_asked: u8,
    is_selected: bool,
    /// The instruction and the data of an open chain.
    chain: Option<(u8, Vec<u8>)>,
}

impl Application {
    pub(super) fn new(traits: Traits) -> Self {
        let (pw1, code, pw3) = (Secret::new(PW1), Secret::new(RESETTING_CODE), Secret::new(PW3));
        Self { traits, signer: None, pw1, code, pw3, fingers_asked: 0, is_selected: false, chain: None }
    }

    /// An application with a signature key, whose user PIN is `pin`.
    pub(super) fn signing(pin: &str) -> anyhow::Result<Self> {
        let new = Self::new(Traits::default());
        Ok(Self { signer: Some(Signer::new()?), pw1: Secret::new(pin), ..new })
    }

    pub(super) fn tries(&self) -> Tries {
        Tries { pw1: self.pw1.tries, code: self.code.tries, pw3: self.pw3.tries }
    }

    pub(super) fn reset(&mut self) {
        (self.is_selected, self.chain) = (false, None);
        for secret in [&mut self.pw1, &mut self.code, &mut self.pw3] {
            secret.is_verified = false;
        }
    }

    /// The answer to a command, status word included.
    pub(super) fn answer(&mut self, command: &[u8]) -> Vec<u8> {
        let Ok(apdu) = CommandApdu::parse(command) else { return 0x6700_u16.to_be_bytes().to_vec() };
        let [_, instruction, p1, p2] = apdu.header();
        let begun = self.chain.take().filter(|(begun, _)| *begun == instruction).map(|(_, data)| data);
        let data = [begun.unwrap_or_default(), apdu.data().to_vec()].concat();
        if apdu.class().is_chaining() {
            self.chain = Some((instruction, data));
            return OK.to_be_bytes().to_vec();
        }
        let (mut answer, word) = self.run(instruction, [p1, p2], &data);
        answer.extend(word.to_be_bytes());
        answer
    }

    fn run(&mut self, instruction: u8, [p1, p2]: [u8; 2], data: &[u8]) -> (Vec<u8>, u16) {
        let pin = (self.tries(), self.pw1.is_verified);
        if let Some(signer) = self.signer.as_mut().filter(|_| self.is_selected)
            && let Some(answer) = signer.answer(instruction, [p1, p2], data, pin)
        {
            return answer;
        }
        let opened: Vec<u8> = data_objects(data).flat_map(|(_, value)| value.to_vec()).collect();
        let data = if instruction & 1 == 1 { &opened } else { data };
        let word = match instruction {
            0xA4 => return self.select(data),
            0xB0 => OK,
            // MANAGE CHANNEL: the channel is the same application.
            0x70 => return (vec![1], OK),
            _ if !self.is_selected => 0x6985,
            0xCA if p2 == 0xC4 => {
                let Tries { pw1, code, pw3 } = self.tries();
                return (vec![0, 0x40, 0x40, 0x40, pw1, code, pw3], OK);
            }
            0x20 | 0x21 if p2 == 0x96 => self.finger(),
            0x20 | 0x21 => self.verify(p2, data),
            0x24 | 0x25 if p1 == 0 => self.change(p2, data),
            0x2C | 0x2D => self.unblock(p1, data),
            _ => 0x6D00,
        };
        (Vec::new(), word)
    }

    fn select(&mut self, name: &[u8]) -> (Vec<u8>, u16) {
        if name.len() < 5 || !NAME.starts_with(name) {
            return (Vec::new(), 0x6A82);
        }
        self.is_selected = true;
        let length = NAME.len() as u8;
        let fci = [&[0x6F, length + 2, 0x84, length], NAME].concat();
        (if self.traits.hides_name { Vec::new() } else { fci }, OK)
    }

    fn secret(&mut self, reference: u8) -> Option<&mut Secret> {
        match reference {
            0x81 | 0x82 => Some(&mut self.pw1),
            0x83 => Some(&mut self.pw3),
            _ => None,
        }
    }

    fn verify(&mut self, reference: u8, data: &[u8]) -> u16 {
        let hides_tries = self.traits.hides_tries;
        let Some(secret) = self.secret(reference) else { return 0x6A88 };
        match data {
            [] if secret.is_verified => OK,
            _ if secret.tries == 0 => BLOCKED,
            [] => 0x63C0 | u16::from(secret.tries),
            value => match secret.compare(value) {
                Ok(()) => OK,
                Err(()) if hides_tries => NOT_SATISFIED,
                Err(()) => 0x63C0 | u16::from(secret.tries),
            },
        }
    }

    fn change(&mut self, reference: u8, data: &[u8]) -> u16 {
        let wrong = self.wrong();
        let Some(secret) = self.secret(reference) else { return 0x6A88 };
        if secret.tries == 0 {
            return BLOCKED;
        }
        match secret.compare_before(data).map(<[u8]>::to_vec) {
            Ok(new) => {
                secret.value = new;
                OK
            }
            Err(()) => wrong,
        }
    }

    fn unblock(&mut self, p1: u8, data: &[u8]) -> u16 {
        let new = match p1 {
            0 if self.code.tries == 0 => return BLOCKED,
            0 => self.code.compare_before(data).map_err(|()| self.wrong()),
            2 if self.pw3.is_verified => Ok(data),
            2 => Err(NOT_SATISFIED),
            _ => Err(WRONG_PARAMETERS),
        };
        match new.map(<[u8]>::to_vec) {
            Ok(new) => {
                self.pw1 = Secret { value: new, tries: TRIES, is_verified: false };
                OK
            }
            Err(word) => word,
        }
    }

    fn finger(&mut self) -> u16 {
        self.fingers_asked += 1;
        if self.fingers_asked >= RIGHT_FINGER { OK } else { 0x63C0 | u16::from(RIGHT_FINGER - self.fingers_asked) }
    }

    fn wrong(&self) -> u16 {
        if self.traits.hides_tries { NOT_SATISFIED } else { 0x6300 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(traits: Traits, commands: &[&[u8]]) -> Vec<u16> {
        let mut card = Application::new(traits);
        let answers = commands.iter().map(|command| card.answer(command));
        answers.map(|answer| u16::from_be_bytes(*answer.last_chunk().unwrap())).collect()
    }

    const SELECT: &[u8] = b"\x00\xA4\x04\x00\x06\xD2\x76\x00\x01\x24\x01";

    #[test]
    fn both_references_of_pw1_share_one_counter() {
        let wrong: [&[u8]; 2] = [b"\x00\x20\x00\x81\x06999999", b"\x00\x20\x00\x82\x06999999"];
        let change = b"\x00\x24\x00\x81\x0C999999111111";
        let commands = [SELECT, wrong[0], wrong[1], change, b"\x00\x20\x00\x82\x06123456"];
        assert_eq!(words(Traits::default(), &commands), [OK, 0x63C2, 0x63C1, 0x6300, BLOCKED]);
        let hiding = Traits { hides_tries: true, ..Traits::default() };
        assert_eq!(words(hiding, &commands), [OK, NOT_SATISFIED, NOT_SATISFIED, NOT_SATISFIED, BLOCKED]);
    }

    #[test]
    fn a_chain_and_data_objects_present_the_same_value() {
        let commands: [&[u8]; 4] = [
            SELECT,
            b"\x10\x20\x00\x81\x03123",
            b"\x00\x20\x00\x81\x03456",
            b"\x00\x25\x00\x81\x10\x80\x06123456\x80\x06654321",
        ];
        assert_eq!(words(Traits::default(), &commands), [OK; 4]);
    }

    #[test]
    fn the_resetting_code_has_its_own_counter() {
        let commands: [&[u8]; 4] = [
            SELECT,
            b"\x00\x2C\x00\x81\x0E11111111222222",
            b"\x00\x2C\x02\x81\x06222222",
            b"\x00\x2C\x00\x81\x0E87654321222222",
        ];
        assert_eq!(words(Traits::default(), &commands), [OK, 0x6300, NOT_SATISFIED, OK]);
    }
}
