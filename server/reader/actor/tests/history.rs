//! Random histories: events of a reader, in any order.

use std::time::Duration;

use cardbroker_core::{slot::ResetKind, turns::turn::Disposition};
use proptest::{collection::vec, prelude::*};

pub(super) const CALLERS: usize = 4;
pub(super) const USERS: usize = 2;
/// Three groups of the first user, one of the second.
pub(super) const GROUPS: usize = 4;

/// A history, and the conditions of its run.
#[derive(Debug, Clone)]
pub(super) struct History {
    /// The reader's card is released when no request waits.
    pub(super) on_demand: bool,
    /// At the end the broker stops, instead of serving every request.
    pub(super) stops: bool,
    /// For how long visits go on.
    pub(super) quantum: Duration,
    pub(super) steps: Vec<Step>,
}

/// One event of a history.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Submit(Wish),
    /// A caller of a waiting request, or of the turn, disconnects.
    Drop(usize),
    /// All requests of a caller are dropped.
    Die(usize),
    /// The last connection of a group closes.
    GroupEnds(usize),
    /// A session requests a unit of its own.
    Ask {
        which: usize,
        raises: bool,
        commands: usize,
        restart: bool,
    },
    AskReset(usize),
    Close(usize),
    /// The card thread's next step: a call begins or ends, or a report arrives.
    Card(Fate),
    /// The current call of the card stack exceeds its time.
    Hang,
    Insert,
    Remove,
    /// The card is swapped between two polls of the monitor.
    Swap,
    /// The monitor polls and reports the status.
    Poll,
    Down,
    Unplug,
    Pass(Duration),
}

/// The options of a caller's request.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) caller: usize,
    pub(super) group: usize,
    pub(super) session: bool,
    pub(super) raises: bool,
    pub(super) commands: usize,
    pub(super) wait_timeout: Duration,
    pub(super) wait_for_card: bool,
    pub(super) reset_before: Option<ResetKind>,
    /// Requires the current state tag.
    pub(super) if_unchanged: bool,
    pub(super) disposition: Disposition,
}

/// The result of a call of the card stack, if the card is in the reader. A result that a call cannot have counts as
/// success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Fine,
    /// The rest of the response must be fetched.
    More,
    Refused,
    Lost,
    ResetByAnother,
    Held,
    Mute,
    ServiceDown,
}

pub(super) fn histories() -> impl Strategy<Value = History> {
    let quantum = select(&[0, 300]).prop_map(Duration::from_millis);
    (any::<bool>(), any::<bool>(), quantum, vec(step(), 1..150))
        .prop_map(|(on_demand, stops, quantum, steps)| History { on_demand, stops, quantum, steps })
}

/// The first three callers are of one user.
pub(super) fn user_of(caller: usize) -> usize {
    caller / 3
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..8_usize;
    prop_oneof![
        10 => wish().prop_map(Step::Submit),
        1 => which.clone().prop_map(Step::Drop),
        1 => (0..CALLERS).prop_map(Step::Die),
        1 => (0..GROUPS).prop_map(Step::GroupEnds),
        5 => (which.clone(), any::<bool>(), 1..3_usize, any::<bool>())
            .prop_map(|(which, raises, commands, restart)| Step::Ask { which, raises, commands, restart }),
        1 => which.clone().prop_map(Step::AskReset),
        2 => which.prop_map(Step::Close),
        30 => fate().prop_map(Step::Card),
        1 => Just(Step::Hang),
        1 => Just(Step::Insert),
        1 => Just(Step::Remove),
        1 => Just(Step::Swap),
        4 => Just(Step::Poll),
        1 => prop_oneof![3 => Just(Step::Down), 1 => Just(Step::Unplug)],
        3 => select(&[1, 30, 300, 3_000, 30_000]).prop_map(|ms| Step::Pass(Duration::from_millis(ms))),
    ]
}

fn wish() -> impl Strategy<Value = Wish> {
    let reset = prop_oneof![6 => Just(None), 1 => Just(Some(ResetKind::Warm)), 1 => Just(Some(ResetKind::Cold))];
    let disposition =
        prop_oneof![2 => Just(Disposition::Leave), 1 => Just(Disposition::Reset), 1 => Just(Disposition::Unpower)];
    let conditions = (select(&[0, 20, 1_000, 60_000]), any::<bool>(), reset, one_in(8), disposition);
    (0..CALLERS, 0..GROUPS - 1, one_in(3), any::<bool>(), 1..4_usize, conditions).prop_map(
        |(caller, group, session, raises, commands, (wait, wait_for_card, reset_before, if_unchanged, disposition))| {
            Wish {
                caller,
                // Of the caller's user.
                group: if user_of(caller) == 0 { group } else { GROUPS - 1 },
                session,
                raises,
                commands,
                wait_timeout: Duration::from_millis(wait),
                wait_for_card,
                reset_before,
                if_unchanged,
                disposition,
            }
        },
    )
}

fn fate() -> impl Strategy<Value = Fate> {
    use Fate::*;
    prop_oneof![
        16 => Just(Fine),
        4 => Just(More),
        2 => Just(Refused),
        2 => prop_oneof![Just(Lost), Just(ResetByAnother), Just(Held), Just(Mute), Just(ServiceDown)],
    ]
}

fn select(from: &'static [u64]) -> impl Strategy<Value = u64> {
    proptest::sample::select(from)
}

fn one_in(count: u32) -> impl Strategy<Value = bool> {
    prop::bool::weighted(1.0 / f64::from(count))
}
