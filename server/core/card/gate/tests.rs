//! The refusals of the gate, their order, and the state of view and guard after an exchange.

use super::*;
use crate::{
    caller::Identity,
    card::{
        pin_guard::Guarded,
        unit::{Next, UnitRun},
    },
    error::Delivery,
    keyed_hash::HashKey,
    policy::{Policy, ReaderNames, rule::Operation, tests::policy},
    slot::{Protocol, SlotError},
    turns::lease::Leases,
    user::{Account, SystemUser},
};

const OWNER: Identity = Identity::User(Account::unix(1000, 1000));
const STRANGER: Identity = Identity::User(Account::unix(1001, 1001));
const READ: &[u8] = b"\x00\xB0\x00\x00\x00";
const VERIFY: &[u8] = b"\x00\x20\x00\x80\x043939";

struct World {
    gate: Gate,
    leases: Leases,
    lease: Lease,
    policy: Policy,
    /// Whether the commands may repeat a known wrong PIN.
    allow_known_wrong: bool,
    reader: ReaderNames,
}

impl World {
    fn new() -> Self {
        let guarded = Guarded { known_wrong: true, last_try: false };
        let mut leases = Leases::default();
        Self {
            gate: Gate::new(PinGuard::new(guarded, HashKey::new(&[1; 64]))),
            lease: leases.grant(),
            leases,
            policy: Policy::new(Vec::new(), SystemUser::unix(1000)),
            allow_known_wrong: false,
            reader: ReaderNames { id: "reader".into(), display_name: "Reader 00 00".into() },
        }
    }

    /// Sends `bytes` for `caller`; the card answers `answer`.
    fn send(
        &mut self,
        caller: &Identity,
        bytes: &[u8],
        answer: Result<&[u8], SlotError>,
    ) -> Result<Result<ApduBytes, SlotError>, Refusal> {
        let mut command = UnitCommand::raw(bytes).unwrap();
        command.allow_known_wrong = self.allow_known_wrong;
        let commands = [command];
        let run = UnitRun::new(&commands, Protocol::T1).unwrap();
        let Next::Exchange(exchange) = run.next() else { panic!("no exchange is due") };
        let (policy, reader, operation) = (&self.policy, &self.reader, Operation::Transmit);
        let rules = CommandRules { policy, caller, reader, operation };
        let admitted = self.gate.admit(&self.lease, &rules, exchange)?;
        Ok(admitted.exchange(|command| {
            assert_eq!(command.bytes(), bytes);
            answer.map(ApduBytes::from)
        }))
    }
}

#[test]
fn nothing_passes_once_the_lease_has_ended() {
    let mut world = World::new();
    assert!(world.send(&OWNER, READ, Ok(&[0x90, 0x00])).is_ok());
    world.leases.end();
    // The lease is checked before the policy.
    for caller in [OWNER, STRANGER] {
        let Err(Refusal::LeaseEnded(failure)) = world.send(&caller, READ, Ok(&[0x90, 0x00])) else {
            panic!("the command was admitted")
        };
        assert_eq!((failure.reason, failure.delivery), (Reason::LeaseEnded, Delivery::NotSent));
    }
}

#[test]
fn a_denial_names_its_rule_and_comes_before_the_guard() {
    let mut world = World::new();
    world.send(&OWNER, VERIFY, Ok(&[0x63, 0xC2])).unwrap().unwrap();
    let refused = world.send(&STRANGER, VERIFY, Ok(&[0x90, 0x00])).unwrap_err();
    let Refusal::Denied(decision, _) = refused else { panic!("{refused:?}") };
    assert_eq!(&*decision.rule, "default");
}

#[test]
fn a_refused_pin_is_refused_for_the_same_card_only() {
    let mut world = World::new();
    world.send(&OWNER, VERIFY, Ok(&[0x63, 0xC2])).unwrap().unwrap();
    for _ in 0..2 {
        let refused = world.send(&OWNER, VERIFY, Ok(&[0x90, 0x00])).unwrap_err();
        assert!(
            matches!(&refused, Refusal::PinGuarded(failure) if failure.reason == Reason::PinKnownWrong),
            "{refused:?}"
        );
        world.gate.reset();
    }
    world.gate.forget();
    assert!(world.send(&OWNER, VERIFY, Ok(&[0x90, 0x00])).is_ok());
}

#[test]
fn a_known_wrong_pin_passes_with_permission_for_its_command() {
    let rules = "[[rule]]
        name = 'repeat'
        principals = ['uid:1000']
        allow = ['guard_override']
        commands = [{ instruction = '20', p2 = '80' }]
        [[rule]]
        name = 'all else'
        principals = ['uid:1000']
        deny = ['guard_override']";
    let mut world = World::new();
    world.policy = policy(rules);
    let other = b"\x00\x20\x00\x81\x043939";
    for wrong in [VERIFY, other] {
        world.send(&OWNER, wrong, Ok(&[0x63, 0xC2])).unwrap().unwrap();
    }
    assert!(matches!(world.send(&OWNER, VERIFY, Ok(&[0x90, 0x00])), Err(Refusal::PinGuarded(_))));
    world.allow_known_wrong = true;
    assert!(world.send(&OWNER, VERIFY, Ok(&[0x63, 0xC1])).is_ok());
    for denied in [&other[..], READ] {
        let Err(Refusal::Denied(decision, operation)) = world.send(&OWNER, denied, Ok(&[0x90, 0x00])) else {
            panic!("{denied:02X?} passes")
        };
        assert_eq!((&*decision.rule, operation), ("all else", Operation::GuardOverride));
    }
}

#[test]
fn a_command_without_an_answer_counts_as_sent() {
    let mut world = World::new();
    world.send(&OWNER, READ, Ok(&[0x90, 0x00])).unwrap().unwrap();
    assert!(!world.gate.is_raised());
    let lost = SlotError::Lost("as scripted".into());
    assert_eq!(world.send(&OWNER, VERIFY, Err(lost.clone())), Ok(Err(lost)));
    assert!(world.gate.is_raised());
}
