//! Classifies a command for the PIN guard: harmless, unknown, or with a PIN; and finds the value in it.

use super::{
    chain::Chain,
    counter::{Counter, Kind, Names, is_global},
    value::{Layout, Value},
};
use crate::{
    apdu::{ApduBytes, Class, CommandApdu, ParsedCommand, data_objects, presents_pin, stays_in_reader},
    card::view::CardView,
    keyed_hash::HashKey,
};

const VERIFY: u8 = 0x20;
const CHANGE_REFERENCE_DATA: u8 = 0x24;
const RESET_RETRY_COUNTER: u8 = 0x2C;
const GET_DATA: u8 = 0xCA;
const SELECT: u8 = 0xA4;
const EXTERNAL_AUTHENTICATE: u8 = 0x82;
const GENERAL_AUTHENTICATE: u8 = 0x86;
/// The bit of an instruction that marks data in BER-TLV data objects.
const IN_DATA_OBJECTS: u8 = 0x01;

/// P1 and P2 of GET DATA for the PW status bytes of an OpenPGP card.
const PW_STATUS: [u8; 2] = [0x00, 0xC4];

/// The reference of fingers, on keys that verify a finger by constant data.
const FINGER: u8 = 0x96;

/// The most data, and the deepest data object in another one, that are read as data objects.
const MAX_OBJECT_BYTES: usize = 1024;
const MAX_DEPTH: usize = 3;
/// The bit of the first tag byte that marks a data object with others inside.
const CONSTRUCTED: u8 = 0x20;

/// Instructions that change no PIN, in every class. The odd instruction after each one is harmless too.
pub(super) const HARMLESS: [u8; 20] = [
    0x22, // MANAGE SECURITY ENVIRONMENT
    0x2A, // PERFORM SECURITY OPERATION
    0x46, // GENERATE ASYMMETRIC KEY PAIR
    0x70, // MANAGE CHANNEL
    0x82, // EXTERNAL AUTHENTICATE
    0x84, // GET CHALLENGE
    0x86, // GENERAL AUTHENTICATE
    0x88, // INTERNAL AUTHENTICATE
    0xA0, // SEARCH BINARY
    0xA2, // SEARCH RECORD
    0xA4, // SELECT
    0xA8, // GET PROCESSING OPTIONS (EMV)
    0xAE, // GENERATE APPLICATION CRYPTOGRAM (EMV)
    0xB0, // READ BINARY
    0xB2, // READ RECORD
    0xC0, // GET RESPONSE
    0xCA, // GET DATA
    0xCC, // GET NEXT DATA
    0xD6, // UPDATE BINARY
    0xDC, // UPDATE RECORD
];

/// The harmless instructions that end no verified state: the card holds the same secrets for verified after them.
const READING: [u8; 10] = [0x84, 0xA0, 0xA2, 0xB0, 0xB2, 0xC0, 0xCA, 0xCC, 0xD6, 0xDC];

/// GET STATUS of GlobalPlatform, STATUS of SIM cards: harmless in a proprietary class. `00F2` is SET PIN RETRIES of
/// Yubico's OpenPGP, which may restore the default PINs.
const GET_STATUS: u8 = 0xF2;

/// The effect of a command on the PINs of the card.
pub(super) enum Sent {
    /// It only reads, or stays in the reader: it changes no PIN and ends no verified state.
    Reads,
    /// It changes no PIN of the card.
    Harmless,
    /// It changes no PIN, but the card may accept this key. `None` if nobody knows whether it does, or its channel.
    Authenticates(Option<Counter>),
    /// It may change any PIN.
    Unknown {
        /// Whether it sends no data to the card. If the answer has data, the command was a query and changed nothing.
        gives_nothing: bool,
    },
    /// It asks an OpenPGP card for the remaining tries of these counters.
    AsksTries(Box<[Counter; 3]>),
    /// It is a link of a chain that presents a PIN. The card acts on the last one.
    Link { link: CommandApdu, counter: Option<Counter> },
    /// It presents a PIN or an unblocking code.
    Presents(Box<Presented>),
}

/// A command that presents a PIN or an unblocking code.
pub(super) struct Presented {
    /// `None` if its channel is unknown.
    pub counter: Option<Counter>,
    /// `None` if the command has no value, or the guard cannot read it.
    pub value: Option<Value>,
    /// Whether a refusal costs a try.
    pub uses_try: bool,
    pub on_success: Success,
}

/// The meaning of success for a command that presents a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Success {
    /// None: the command had no value.
    Nothing,
    /// The value was correct; it stays the same.
    IsRight,
    /// The secret has a new value.
    IsChanged,
}

/// The values in the data of a command (ISO 7816-4 §11.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The value to compare, and nothing else.
    Alone,
    /// The value to compare, and a new one.
    Leading,
    /// A new value, or none.
    NewOnly,
}

impl Form {
    fn of(even: u8, p1: u8) -> Self {
        match (even, p1) {
            (CHANGE_REFERENCE_DATA, 0x01) | (RESET_RETRY_COUNTER, 0x02 | 0x03) => Self::NewOnly,
            (RESET_RETRY_COUNTER, 0x01) => Self::Alone,
            (CHANGE_REFERENCE_DATA | RESET_RETRY_COUNTER, _) => Self::Leading,
            _ => Self::Alone,
        }
    }
}

/// The card before a command, as far as the guard knows it.
#[derive(Clone, Copy)]
pub(super) struct Situation<'a> {
    /// The key of all hashes.
    pub key: &'a HashKey,
    pub view: &'a CardView,
    pub names: &'a Names,
    /// The chain that the command continues.
    pub chain: Option<&'a Chain>,
}

impl Situation<'_> {
    /// Classifies a command by its effect on PINs.
    pub(super) fn read(self, command: &ParsedCommand) -> Sent {
        let Self { view, .. } = self;
        let apdu = match command {
            ParsedCommand::Apdu(apdu) => apdu,
            ParsedCommand::Unreadable(bytes) => return self.read_unreadable(bytes),
        };
        let [_, instruction, parameters @ ..] = apdu.header();
        let even = instruction & !IN_DATA_OBJECTS;
        let is_proprietary = apdu.class().logical_channel().is_none();
        match even {
            _ if stays_in_reader(apdu.header()) => Sent::Reads,
            _ if instruction == GET_DATA && parameters == PW_STATUS && !is_proprietary => {
                let place = view.place_of_pins(apdu.class(), false).map(|place| self.names.resolve(place));
                let counters = place.filter(|_| view.is_plain(apdu)).and_then(|place| Counter::of_openpgp(&place));
                counters.map_or(Sent::Reads, |counters| Sent::AsksTries(Box::new(counters)))
            }
            EXTERNAL_AUTHENTICATE => Sent::Authenticates(self.counter_of(apdu.class(), Kind::Key, parameters[1])),
            // Only its last step proves the key.
            GENERAL_AUTHENTICATE => Sent::Authenticates(None),
            // An EF below the selected DF, which stays selected.
            SELECT if parameters[0] == 0x02 && !is_proprietary => Sent::Reads,
            _ if READING.contains(&even) => Sent::Reads,
            _ if HARMLESS.contains(&even) => Sent::Harmless,
            GET_STATUS if is_proprietary => Sent::Harmless,
            // In a proprietary class the instruction may have another meaning.
            _ if !presents_pin(instruction) || is_proprietary => {
                Sent::Unknown { gives_nothing: apdu.data().is_empty() && view.is_plain(apdu) }
            }
            _ if apdu.class().has_secure_messaging() && apdu.class().is_chaining() => Sent::Harmless,
            _ if apdu.class().is_chaining() => {
                let counter = self.counter(apdu.class(), apdu.header());
                let presents = Form::of(even, parameters[0]) != Form::NewOnly;
                Sent::Link { link: apdu.clone(), counter: counter.filter(|_| presents) }
            }
            _ => Sent::Presents(Box::new(self.presented(apdu, even))),
        }
    }

    /// Reads a complete command, or the last one of a chain.
    fn presented(self, apdu: &CommandApdu, even: u8) -> Presented {
        let [_, instruction, p1, reference] = apdu.header();
        let (is_plain, is_protected) = (self.view.is_plain(apdu), apdu.class().has_secure_messaging());
        let joined = self.chain.filter(|_| !is_plain && !is_protected).and_then(|chain| chain.joined(apdu));
        let data = if is_plain { Some(apdu.data()) } else { joined.as_deref() };
        let (counter, form) = (self.counter(apdu.class(), apdu.header()), Form::of(even, p1));
        let is_empty = data.is_some_and(<[u8]>::is_empty) || is_protected && apdu.data().is_empty();
        let value = data.filter(|data| !data.is_empty()).and_then(|data| match form {
            Form::NewOnly => Some(Value::bytes(self.key, &ApduBytes::concat([&[instruction, p1], data]), None)),
            _ => self.value(instruction, reference, form, counter.as_ref(), data),
        });
        let on_success = match even {
            VERIFY if is_empty => Success::Nothing,
            VERIFY => Success::IsRight,
            _ => Success::IsChanged,
        };
        Presented { counter, value, uses_try: !is_empty && !is_protected && form != Form::NewOnly, on_success }
    }

    /// Finds the value in complete data; `None` for a question to a finger.
    fn value(
        self,
        instruction: u8,
        reference: u8,
        form: Form,
        counter: Option<&Counter>,
        data: &[u8],
    ) -> Option<Value> {
        let objects = values_in(data, MAX_DEPTH);
        let is_constant = objects.as_ref().is_some_and(|values| values.is_empty());
        if form == Form::Alone && (is_constant || reference == FINGER) {
            return None;
        }
        let in_objects = objects.filter(|_| instruction & IN_DATA_OBJECTS != 0);
        let data = in_objects.as_deref().unwrap_or(data);
        Some(match form {
            Form::Leading => Value::leading(self.key, data, counter.map_or(Layout::Unknown, Counter::layout)),
            Form::Alone | Form::NewOnly => Value::alone(self.key, data),
        })
    }

    /// Classifies bytes that are not an APDU. If the card accepts them, they may have had any effect.
    fn read_unreadable(self, command: &[u8]) -> Sent {
        let Some((&header, presented)) = command.split_first_chunk() else {
            return Sent::Unknown { gives_nothing: false };
        };
        let [class, instruction, p1, reference] = header;
        if !presents_pin(instruction) {
            return Sent::Unknown { gives_nothing: false };
        }
        let counter = self.counter(Class(class), header);
        // In a chain the value begins in the earlier commands.
        let value = (!self.view.has_open_chain()).then(|| {
            let is_usual = matches!(class, 0x00..=0x03 | 0x40..=0x4F);
            let form = Form::of(instruction & !IN_DATA_OBJECTS, p1);
            let announced = announced(presented).filter(|_| is_usual && form != Form::NewOnly);
            let read = announced.and_then(|data| self.value(instruction, reference, form, counter.as_ref(), data));
            Value::bytes(self.key, &ApduBytes::concat([&[class, instruction, p1], presented]), read)
        });
        Sent::Presents(Box::new(Presented { counter, value, uses_try: true, on_success: Success::IsChanged }))
    }

    fn counter(self, class: Class, [_, instruction, _, reference]: [u8; 4]) -> Option<Counter> {
        let is_code = instruction & !IN_DATA_OBJECTS == RESET_RETRY_COUNTER;
        let kind = if is_code { Kind::UnblockingCode } else { Kind::Pin };
        self.counter_of(class, kind, reference)
    }

    fn counter_of(self, class: Class, kind: Kind, reference: u8) -> Option<Counter> {
        let place = self.view.place_of_pins(class, is_global(reference))?;
        Some(Counter::new(self.names.resolve(place), kind, reference))
    }
}

/// The data that a length field announces, if more bytes follow.
fn announced(bytes: &[u8]) -> Option<&[u8]> {
    match bytes {
        [0, high, low, rest @ ..] => rest.get(..usize::from(u16::from_be_bytes([*high, *low]))),
        [length, rest @ ..] => rest.get(..usize::from(*length)),
        [] => None,
    }
    .filter(|data| !data.is_empty())
}

/// The values of all data objects in `data`, one after the other; `None` if `data` are no data objects.
fn values_in(data: &[u8], depth: usize) -> Option<ApduBytes> {
    if data.len() > MAX_OBJECT_BYTES {
        return None;
    }
    let mut values = ApduBytes::default();
    let mut end = data.as_ptr_range().start;
    for (tag, value) in data_objects(data) {
        let first = tag.to_be_bytes().into_iter().find(|byte| *byte != 0).filter(|_| depth > 0)?;
        let inner = (first & CONSTRUCTED != 0).then(|| values_in(value, depth - 1)).flatten();
        values = ApduBytes::concat([&values, inner.as_deref().unwrap_or(value)]);
        end = value.as_ptr_range().end;
    }
    (!data.is_empty() && end == data.as_ptr_range().end).then_some(values)
}
