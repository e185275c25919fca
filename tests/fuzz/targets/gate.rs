//! Fuzzes the gate in front of a card that knows its own PINs: a refused value is never sent again, a right one is
//! always sent, a denied command is not sent, and the gate knows when security state may be left in the card.

#![no_main]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a target says what is broken"
)]

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    slice,
};

use cardbroker_core::{
    apdu::CommandApdu,
    caller::Identity,
    card::{
        gate::{Gate, Refusal},
        pin_guard::{Guarded, PinGuard},
        unit::{Next, UnitCommand, UnitRun},
    },
    error::{Delivery, Reason},
    keyed_hash::HashKey,
    policy::{CommandRules, Policy, ReaderNames, rule::Operation},
    slot::Protocol,
    turns::lease::Leases,
    user::{Account, SystemUser},
};
use cardbroker_server::config::Config;
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};

#[derive(Debug, Arbitrary)]
struct Case {
    policy: Rules,
    guards_known_wrong: bool,
    guards_last_try: bool,
    events: Vec<Event>,
}

#[derive(Debug, Arbitrary)]
enum Event {
    /// One of the card's applications, or one that it does not have.
    Select(u8),
    Verify {
        reference: bool,
        value: u8,
        allow_last_try: bool,
    },
    AskTries {
        reference: bool,
    },
    Change {
        reference: bool,
        old: u8,
        new: u8,
        allow_last_try: bool,
    },
    Unblock {
        reference: bool,
        code: u8,
        new: u8,
    },
    /// A command of the card's own that changes a PIN.
    Put {
        reference: bool,
        value: u8,
    },
    Read,
    /// VERIFY with a length that is wrong, which this card does not mind.
    VerifyUnreadably {
        reference: bool,
        value: u8,
        allow_last_try: bool,
    },
    /// Anything, which this card does not know and answers so.
    Other(Vec<u8>),
    /// The answer is lost, and the card is given up.
    Lost,
    Reset,
    Swap {
        pins: [u8; 2],
    },
    EndLease,
}

/// The policy, in three kinds.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Rules {
    Everything,
    /// Nothing but to select by name, to read, and to verify in the first application.
    AllowSome,
    /// All but to verify in the second application.
    DenySome,
}

impl Rules {
    fn policy(self) -> Policy {
        let rules = match self {
            Self::Everything => "",
            Self::AllowSome => {
                "rule = [
                    { name = 'some', principals = ['anyone'], allow = ['transmit'], commands = [
                        { class = '00', instruction = 'A4', p1 = '04' }, { class = '00', instruction = 'B0' },
                        { class = '00', instruction = '20', application = 'F04341524401' } ] },
                    { name = 'no more', principals = ['anyone'], deny = ['all'] } ]"
            }
            Self::DenySome => {
                "rule = [
                    { name = 'some', principals = ['anyone'], deny = ['transmit'], commands = [
                        { instruction = '20', application = 'F04341524402' } ] } ]"
            }
        };
        let config = Config::parse("c.toml".as_ref(), rules).unwrap();
        Policy::new(config.rules, SystemUser::unix(UID))
    }

    /// Whether a command may be sent while that application is selected.
    fn allow(self, command: &[u8], application: u8) -> bool {
        match (self, command) {
            (Self::Everything, _) => true,
            _ if !CommandApdu::is_apdu(command) => false,
            (Self::AllowSome, [0, 0xA4, 4, ..] | [0, 0xB0, ..]) => true,
            (Self::AllowSome, [0, 0x20, ..]) => application == 1,
            (Self::AllowSome, _) => false,
            (Self::DenySome, [_, 0x20, ..]) => application != 2,
            (Self::DenySome, _) => true,
        }
    }
}

const UID: u32 = 1000;

/// A PIN: its application and its reference.
type Name = (u8, u8);

const TRIES: u8 = 3;
const UNBLOCKING_CODE: u8 = 1;
const APPLICATIONS: u8 = 2;

/// The card, and the truth about it.
struct Card {
    /// 0 for the default one.
    application: u8,
    pins: HashMap<Name, (u8, u8)>,
}

impl Card {
    fn new(pins: [u8; 2]) -> Self {
        let names = (0..=APPLICATIONS).flat_map(|application| [0x80, 0x81].map(|reference| (application, reference)));
        let pins = names.map(|name| (name, (pins[usize::from(name.1 & 1)] % 4, TRIES))).collect();
        Self { application: 0, pins }
    }

    fn pin(&mut self, reference: u8) -> &mut (u8, u8) {
        self.pins.entry((self.application, reference)).or_default()
    }

    /// Whether the PIN has that value; a wrong one costs a try.
    fn is_right(&mut self, reference: u8, value: u8) -> Result<(), u16> {
        let (pin, tries) = self.pin(reference);
        match *tries {
            0 => Err(0x6983),
            _ if *pin == value => {
                *tries = TRIES;
                Ok(())
            }
            _ => {
                *tries -= 1;
                Err(0x63C0 + u16::from(*tries))
            }
        }
    }

    fn runs(&mut self, event: &Event) -> Result<(), u16> {
        match *event {
            Event::Select(application) if application % 4 > APPLICATIONS => Err(0x6A82),
            Event::Select(application) => {
                self.application = application % 4;
                Ok(())
            }
            Event::Verify { reference, value, .. } | Event::VerifyUnreadably { reference, value, .. } => {
                self.is_right(number(reference), value % 4)
            }
            Event::AskTries { reference } => match self.pin(number(reference)).1 {
                0 => Err(0x6983),
                tries => Err(0x63C0 + u16::from(tries)),
            },
            Event::Change { reference, old, new, .. } => {
                self.is_right(number(reference), old % 4)?;
                self.pin(number(reference)).0 = new % 4;
                Ok(())
            }
            Event::Unblock { code, .. } if code % 4 != UNBLOCKING_CODE => Err(0x63C9),
            Event::Unblock { reference, new: value, .. } | Event::Put { reference, value } => {
                *self.pin(number(reference)) = (value % 4, TRIES);
                Ok(())
            }
            Event::Read => Ok(()),
            Event::Other(_) => Err(0x6D00),
            Event::Lost | Event::Reset | Event::Swap { .. } | Event::EndLease => Ok(()),
        }
    }
}

fn number(reference: bool) -> u8 {
    0x80 + u8::from(reference)
}

/// A value as it is sent.
fn digits(value: u8) -> [u8; 8] {
    [b'0' + value % 4; 8]
}

fn name(application: u8) -> [u8; 6] {
    [0xF0, b'C', b'A', b'R', b'D', application % 4]
}

impl Event {
    fn command(&self) -> Option<Vec<u8>> {
        let with = |header: [u8; 4], data: &[u8]| Some([&header[..], &[data.len() as u8], data].concat());
        match self {
            // The default application has no name.
            Self::Select(application) if application % 4 == 0 => None,
            Self::Select(application) => with([0, 0xA4, 4, 0], &name(*application)),
            Self::Verify { reference, value, .. } => with([0, 0x20, 0, number(*reference)], &digits(*value)),
            Self::VerifyUnreadably { reference, value, .. } => {
                Some([&[0, 0x20, 0, number(*reference), 0xFF], &digits(*value)[..]].concat())
            }
            Self::AskTries { reference } => Some(vec![0, 0x20, 0, number(*reference)]),
            Self::Change { reference, old, new, .. } => {
                with([0, 0x24, 0, number(*reference)], &[digits(*old), digits(*new)].concat())
            }
            Self::Unblock { reference, code, new } => {
                with([0, 0x2C, 0, number(*reference)], &[digits(*code), digits(*new)].concat())
            }
            Self::Put { reference, value } => with([0x80, 0xDA, 0, number(*reference)], &digits(*value)),
            Self::Read => Some(vec![0, 0xB0, 0, 0, 0]),
            Self::Other(bytes) => Some(bytes.clone()),
            Self::Lost | Self::Reset | Self::Swap { .. } | Self::EndLease => None,
        }
    }

    fn allows_last_try(&self) -> bool {
        matches!(
            self,
            Self::Verify { allow_last_try: true, .. }
                | Self::VerifyUnreadably { allow_last_try: true, .. }
                | Self::Change { allow_last_try: true, .. }
        )
    }

    /// The reference that it tries, and with which value.
    fn tries(&self) -> Option<(u8, u8)> {
        match *self {
            Self::Verify { reference, value, .. }
            | Self::VerifyUnreadably { reference, value, .. }
            | Self::Change { reference, old: value, .. } => Some((number(reference), value % 4)),
            _ => None,
        }
    }

    /// Whether the card is no other one after it, for the next caller (ISO 7816-4 §11).
    fn is_neutral(command: &[u8]) -> bool {
        match command {
            _ if !CommandApdu::is_apdu(command) => false,
            [0xFF, 0xCA, ..] => true,
            [0, instruction, ..] => {
                matches!(instruction, 0x84 | 0xA0 | 0xA2 | 0xA4 | 0xB0 | 0xB2 | 0xC0 | 0xCA | 0xCC)
            }
            _ => false,
        }
    }
}

fuzz_target!(|case: Case| {
    let guarded = Guarded { known_wrong: case.guards_known_wrong, last_try: case.guards_last_try };
    let mut gate = Gate::new(PinGuard::new(guarded, HashKey::new(&[1; 64])));
    let mut leases = Leases::default();
    let lease = leases.grant();
    let policy = case.policy.policy();
    let reader = ReaderNames { id: "reader".into(), display_name: "Reader 00 00".into() };
    let caller = Identity::User(Account::unix(UID, UID));
    let rules = CommandRules { policy: &policy, caller: &caller, reader: &reader, operation: Operation::Transmit };
    let mut card = Card::new([0, 0]);
    // What has happened since the card was last in unknown hands: values refused while the selection was certain, and
    // tries that the card has told, by whether it was.
    let mut refused: HashSet<(Name, Vec<u8>)> = HashSet::new();
    let mut told: HashMap<(Name, bool), u8> = HashMap::new();
    let (mut raised, mut lease_ended, mut is_certain) = (false, false, true);

    for event in &case.events {
        match event {
            Event::Lost | Event::Swap { .. } => {
                gate.forget();
                card = Card::new(if let Event::Swap { pins } = event { *pins } else { [1, 2] });
                (refused, told, raised, is_certain) = (HashSet::new(), HashMap::new(), false, true);
                continue;
            }
            Event::Reset => {
                gate.reset();
                (card.application, raised, is_certain) = (0, false, true);
                continue;
            }
            Event::EndLease => {
                leases.end();
                lease_ended = true;
                continue;
            }
            _ => {}
        }
        let Some(mut command) = event.command().and_then(|bytes| UnitCommand::raw(bytes).ok()) else { continue };
        let bytes = command.bytes().to_vec();
        let allow_last_try = event.allows_last_try();
        command.allow_last_try = allow_last_try;
        let run = UnitRun::new(slice::from_ref(&command), Protocol::T1).expect("a raw command has any length");
        let Next::Exchange(exchange) = run.next() else { panic!("a unit of one command is finished before it") };
        let tried = event.tries().map(|(reference, value)| ((card.application, reference), value));
        let admitted = match gate.admit(&lease, &rules, exchange) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                let failure = match refusal {
                    // Where the selection is not known, a rule is read against the caller.
                    Refusal::Denied(..) => {
                        let allowed = case.policy.allow(&bytes, card.application);
                        assert!(!allowed || !is_certain || card.application == 0, "denied without a rule");
                        continue;
                    }
                    Refusal::LeaseEnded(failure) | Refusal::PinGuarded(failure) => failure,
                };
                assert_eq!(failure.delivery, Delivery::NotSent);
                match (failure.reason, tried) {
                    (Reason::LeaseEnded, _) => assert!(lease_ended),
                    (Reason::PinKnownWrong, Some((name, value))) => {
                        assert!(case.guards_known_wrong && card.pins[&name].0 != value, "the right PIN is kept back");
                    }
                    (Reason::PinKnownWrong, None) => match event {
                        Event::Unblock { code, .. } => {
                            assert_ne!(code % 4, UNBLOCKING_CODE, "the right code is kept back")
                        }
                        Event::Other(_) => {}
                        _ => panic!("no PIN is tried"),
                    },
                    (Reason::PinLastTry, None) => assert!(matches!(event, Event::Other(_)), "no PIN is tried"),
                    (Reason::PinLastTry, Some((name, _))) => {
                        assert!(
                            case.guards_last_try
                                && !allow_last_try
                                && [true, false].iter().any(|certain| told.get(&(name, *certain)) == Some(&1)),
                            "not the last try"
                        );
                    }
                    other => panic!("{other:?}"),
                }
                continue;
            }
        };
        assert!(!lease_ended, "a command passes although the turn is over");
        assert!(case.policy.allow(&bytes, card.application), "a command passes that the policy denies");
        if let (Some((name, _)), true) = (tried, is_certain) {
            let known = refused.contains(&(name, bytes.clone()));
            assert!(!known || !case.guards_known_wrong, "a PIN that the card has refused passes again");
            let last = case.guards_last_try && !allow_last_try && told.get(&(name, true)) == Some(&1);
            assert!(!last, "the last try is used up");
        }

        let word = card.runs(event).err().unwrap_or(0x9000);
        let Ok(_) = admitted.exchange(|command| -> Result<_, Infallible> {
            assert_eq!(command.bytes(), bytes);
            Ok(word.to_be_bytes().into())
        });
        raised |= !Event::is_neutral(&bytes);
        assert_eq!(gate.is_raised(), raised, "after {bytes:02X?}");

        // What the gate learns without knowing the selection counts until the selection changes, and for no other one.
        let was_certain = is_certain;
        // What the gate cannot read may have selected anything.
        is_certain &= !matches!((event, word), (Event::Other(_), _) | (Event::VerifyUnreadably { .. }, 0x9000));
        let presented = tried.map(|(name, _)| (name, bytes.clone()));
        match (event, word) {
            (
                Event::Verify { .. } | Event::VerifyUnreadably { .. } | Event::Change { .. } | Event::AskTries { .. },
                0x63C0 | 0x6983,
            ) => {
                // There is nothing left to lose.
                let name = (card.application, bytes[3]);
                refused.retain(|(other, ..)| *other != name);
                told.remove(&(name, was_certain));
            }
            (
                Event::Verify { .. } | Event::VerifyUnreadably { .. } | Event::Change { .. } | Event::AskTries { .. },
                0x63C1..=0x63CF,
            ) => {
                refused.extend(presented.filter(|_| was_certain));
                told.insert(((card.application, bytes[3]), was_certain), (word & 0xF) as u8);
            }
            (Event::Verify { .. }, 0x9000) => {
                let name = (card.application, bytes[3]);
                refused.retain(|(other, ..)| *other != name);
                told.remove(&(name, was_certain));
            }
            (Event::Change { .. } | Event::Unblock { .. } | Event::VerifyUnreadably { .. }, 0x9000) => {
                refused.clear();
                told.clear();
            }
            // What the card's own commands do is not known: nothing that it has refused may be kept back now.
            (Event::Put { .. }, 0x9000) => refused.clear(),
            _ => {}
        }
    }
});
