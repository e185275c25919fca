//! Random histories of handles against a model: who is connected, with which share mode, who keeps a turn, and which
//! news each handle must get.

mod calls;
mod world;

use proptest::{collection::vec, prelude::*, test_runner::TestCaseResult};

use self::world::World;
use super::*;
use crate::properties::{holds, is_broken};

const HANDLES: u32 = 6;
const PROCESSES: u64 = 3;
const READERS: [&str; 2] = ["readers/a", "readers/b"];
/// More in total than there are handles, so that only the limit of a user counts.
const LIMITS: HandleLimits = HandleLimits { total: 64, per_user: 3 };

/// A call of a program, or an event at a reader. Handles are numbers up to [`HANDLES`], connected or not.
#[derive(Debug, Clone, Copy)]
enum Step {
    Connect { id: u32, process: u64, reader: usize, share: ShareMode },
    Disconnect(u32),
    Reconnect { id: u32, share: ShareMode, end: Reconnected },
    Begin(u32),
    End { id: u32, resets: bool },
    Transmit(u32),
    Status(u32),
    Rest(u32),
    Event(usize, Event),
}

#[derive(Debug, Clone, Copy)]
enum Reconnected {
    Succeeds,
    /// It fails after this event.
    Fails(Option<Event>),
}

#[derive(Debug, Clone, Copy)]
enum Event {
    /// Another card is in the reader.
    Swap,
    /// A caller that is no PC/SC program has the card reset, or a program outside of the broker does it.
    Reset,
    /// The handle that keeps its turn has kept it for too long.
    Revoke,
}

fn histories() -> impl Strategy<Value = (bool, Vec<Step>)> {
    let id = || 1..=HANDLES;
    let share =
        || prop_oneof![2 => Just(ShareMode::Shared), 1 => Just(ShareMode::Exclusive), 1 => Just(ShareMode::Direct)];
    let event = || prop_oneof![Just(Event::Swap), Just(Event::Reset), Just(Event::Revoke)];
    let end = prop_oneof![
        2 => Just(Reconnected::Succeeds),
        1 => proptest::option::of(event()).prop_map(Reconnected::Fails),
    ];
    let connects = (id(), 1..=PROCESSES, 0..READERS.len(), share());
    let step = prop_oneof![
        4 => connects.prop_map(|(id, process, reader, share)| Step::Connect { id, process, reader, share }),
        2 => id().prop_map(Step::Disconnect),
        4 => (id(), share(), end).prop_map(|(id, share, end)| Step::Reconnect { id, share, end }),
        4 => id().prop_map(Step::Begin),
        4 => (id(), any::<bool>()).prop_map(|(id, resets)| Step::End { id, resets }),
        4 => id().prop_map(Step::Transmit),
        1 => id().prop_map(Step::Status),
        2 => id().prop_map(Step::Rest),
        1 => (0..READERS.len(), event()).prop_map(|(reader, event)| Step::Event(reader, event)),
    ];
    (any::<bool>(), vec(step, 0..100))
}

/// A planted fault: the handles do not hear of something, or hear something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    MissesResets,
    SwapsRules,
    MixesProcesses,
    NoLimit,
    StaysConnected,
    KeepsOldShare,
    KeepsNewShare,
    TakesNoTurn,
    KeepsTurn,
    KeepsTransaction,
    ForgetsCommands,
}

impl Fault {
    const ALL: [(Self, &str); 11] = [
        (Self::MissesResets, NEWS),
        (Self::SwapsRules, EXCLUDES),
        (Self::MixesProcesses, SHARING),
        (Self::NoLimit, PLACES),
        (Self::StaysConnected, CONNECTED),
        (Self::KeepsOldShare, TERMS),
        (Self::KeepsNewShare, TERMS),
        (Self::TakesNoTurn, READY),
        (Self::KeepsTurn, BUSY),
        (Self::KeepsTransaction, KEEPS),
        (Self::ForgetsCommands, SENT),
    ];
}

// The rules.
const NEWS: &str = "a change is reported";
const EXCLUDES: &str = "an exclusive handle excludes others, and is excluded by them";
const SHARING: &str = "a process sees the number of its own handles";
const PLACES: &str = "a user has so many handles at most";
const CONNECTED: &str = "a handle is there from its connect to its disconnect";
const TERMS: &str = "a reconnect changes share mode and protocol, unless it fails";
const READY: &str = "only the holder of the turn is ready";
const KEEPS: &str = "an exclusive handle, and one in a transaction, keeps its turn";
const BUSY: &str = "a process does not wait for its own handles";
const SENT: &str = "commands have an effect until the card is reset or replaced";

fn play((is_strict, history): &(bool, Vec<Step>), fault: Option<Fault>) -> TestCaseResult {
    let mut world = World::new(*is_strict, fault);
    for step in history {
        world.step(*step)?;
        world.agrees()?;
    }
    Ok(())
}

#[test]
fn random_histories_of_handles_agree_with_the_model() {
    holds(1000, histories(), |history| play(&history, None));
}

#[test]
fn each_planted_fault_breaks_its_rule() {
    for (fault, rule) in Fault::ALL {
        is_broken(2000, histories(), |history| play(&history, Some(fault)), fault, rule);
    }
}
