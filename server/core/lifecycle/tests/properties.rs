//! Properties of every life cycle, for any reports of the monitor and any behavior of the card; each is seen broken by
//! a planted fault.

use proptest::{collection::vec, prelude::*, test_runner::TestCaseResult};

use super::*;
use crate::properties::{holds, is_broken};

const CASES: u32 = 500;

#[derive(Debug, Clone)]
enum Event {
    Insert,
    Remove,
    Swap,
    Look,
    Down,
    /// If the reader serves, a turn that may hang and ends in this way.
    Turn {
        hangs: bool,
        end: UnitEnd,
    },
    /// The result of the next attempts to take the card.
    Luck(Option<SlotError>),
    Pass(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let end = prop_oneof![
        4 => Just(UnitEnd::InOrder(card())),
        1 => Just(UnitEnd::Lost),
        1 => Just(UnitEnd::Removed),
        1 => Just(UnitEnd::Unavailable("gone".into())),
    ];
    let luck = prop_oneof![
        4 => Just(None),
        1 => Just(Some(SlotError::Held)),
        1 => Just(Some(SlotError::Mute("no ATR".into()))),
        1 => Just(Some(SlotError::NoCard)),
        1 => Just(Some(SlotError::ReaderGone)),
        1 => Just(Some(SlotError::CardReset)),
    ];
    let event = prop_oneof![
        2 => Just(Event::Insert),
        1 => Just(Event::Remove),
        1 => Just(Event::Swap),
        3 => Just(Event::Look),
        1 => Just(Event::Down),
        4 => (prop::bool::weighted(0.1), end).prop_map(|(hangs, end)| Event::Turn { hangs, end }),
        2 => luck.prop_map(Event::Luck),
        4 => prop_oneof![Just(1), Just(50), Just(600), Just(6000)].prop_map(Event::Pass),
    ];
    vec(event, 1..80)
}

fn owns() -> impl Strategy<Value = Own> {
    prop_oneof![3 => Just(Own::Always), 2 => Just(Own::OnDemand), 1 => Just(Own::Never)]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The monitor does not count a swap.
    HiddenSwap,
    /// A lost exchange is reported as a good one.
    GoodEnd,
    /// Every poll counts as an insertion.
    Nervous,
    /// The machine starts anew when the service fails.
    Amnesia,
    /// A failed action is due again at once.
    StoppedClock,
}

/// The broker's knowledge of the card when the reader serves again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Card {
    Same,
    /// The reader released the card, or its driver hung: it may be another card.
    Unsure,
    Another,
}

struct World {
    lifecycle: CardLifecycle,
    now: Instant,
    own: Own,
    fault: Option<Fault>,
    card_present: bool,
    event_count: u32,
    reported: Option<(bool, u32)>,
    luck: Option<SlotError>,
    /// The insertion that was last served, and the state of its card.
    served: Option<(String, Card)>,
    last_tag: u64,
    last_status: ReaderStatus,
}

fn play(own: Own, events: Vec<Event>, fault: Option<Fault>) -> TestCaseResult {
    let (lifecycle, now) = lifecycle(own);
    let last_status = lifecycle.status();
    let mut world = World {
        lifecycle,
        now,
        own,
        fault,
        card_present: false,
        event_count: 0,
        reported: None,
        luck: None,
        served: None,
        last_tag: 0,
        last_status,
    };
    events.into_iter().try_for_each(|event| world.step(event))
}

impl World {
    fn step(&mut self, event: Event) -> TestCaseResult {
        match event {
            Event::Insert | Event::Remove => {
                let is_there = matches!(event, Event::Insert);
                self.event_count += u32::from(self.card_present != is_there);
                self.card_present = is_there;
            }
            Event::Swap if self.card_present => {
                self.event_count += 2;
                self.look();
            }
            Event::Swap => {}
            Event::Look => self.look(),
            Event::Down => {
                self.lifecycle.on_unavailable("down".into(), self.now);
                self.reported = None;
                self.becomes(Card::Another);
                if self.fault == Some(Fault::Amnesia) {
                    self.lifecycle =
                        CardLifecycle::new(self.own, Duration::from_secs(5), ProtocolChoice::Any, "x".into(), self.now);
                }
            }
            Event::Turn { hangs, end } => return self.act(Some((hangs, end))),
            Event::Luck(luck) => self.luck = luck,
            Event::Pass(time) => self.now = at(self.now, time),
        }
        self.act(None)
    }

    fn look(&mut self) {
        let now = (self.card_present, self.event_count);
        if self.reported != Some(now) && self.reported.is_none_or(|reported| self.card_present || reported.0) {
            self.becomes(Card::Another);
        }
        self.reported = Some(now);
        let reported = match self.fault {
            Some(Fault::HiddenSwap) => 0,
            Some(Fault::Nervous) => self.lifecycle.state_count as u32,
            _ => self.event_count,
        };
        self.lifecycle.on_status(seen(self.card_present, reported), self.now);
    }

    fn becomes(&mut self, card: Card) {
        if let Some((_, served)) = &mut self.served {
            *served = card.max(*served);
        }
    }

    /// Runs the machine's actions, and a turn if there is one.
    fn act(&mut self, mut turn: Option<(bool, UnitEnd)>) -> TestCaseResult {
        self.check_invariants(false)?;
        for _ in 0..4 {
            match self.lifecycle.take_action(self.now, turn.is_some()) {
                None => return self.check_invariants(true),
                Some(Action::Take | Action::ColdReset) => {
                    let late = if self.fault == Some(Fault::StoppedClock) { 10_000 } else { 0 };
                    let taken = self.luck.clone().map_or_else(|| Ok(card()), Err);
                    self.lifecycle.on_taken(taken, self.now - Duration::from_millis(late));
                }
                Some(Action::Release) => {
                    self.lifecycle.on_released();
                    self.becomes(Card::Unsure);
                }
                Some(Action::Serve) => {
                    prop_assert!(
                        self.lifecycle.card().is_some() && state(&self.lifecycle) == State::Ready,
                        "served a turn in an unready state"
                    );
                    let Some((hangs, end)) = turn.take() else {
                        return Err(TestCaseError::fail("served without a waiter"));
                    };
                    self.serve(hangs, end)?;
                }
            }
            prop_assert!(self.own != Own::Never, "used a card of a reader that is not owned");
            self.check_invariants(false)?;
        }
        Err(TestCaseError::fail("the machine spins"))
    }

    fn serve(&mut self, hangs: bool, end: UnitEnd) -> TestCaseResult {
        let (announced, insertion) = (self.lifecycle.next_state_tag(), self.lifecycle.insertion_id());
        self.lifecycle.on_turn();
        prop_assert!(announced == self.lifecycle.state_tag(), "the state tag is not the announced one");
        if let Some((before, card)) = self.served.replace((insertion.clone(), Card::Same)) {
            prop_assert!(card != Card::Another || before != insertion, "another card has the same insertion id");
            prop_assert!(card != Card::Same || before == insertion, "the same card has another insertion id");
        }
        if hangs {
            self.lifecycle.on_hang();
            prop_assert_eq!(self.lifecycle.take_action(self.now, false), None);
            self.becomes(Card::Unsure);
        }
        let is_good = self.fault == Some(Fault::GoodEnd);
        self.becomes(if matches!(end, UnitEnd::InOrder(_)) { Card::Same } else { Card::Another });
        self.lifecycle.on_unit_ended(if is_good { UnitEnd::InOrder(card()) } else { end }, self.now);
        Ok(())
    }

    fn check_invariants(&mut self, is_done: bool) -> TestCaseResult {
        let tag = self.lifecycle.state_count;
        prop_assert!(tag >= self.last_tag, "the state tag goes back");
        self.last_tag = tag;
        let is_later = self.lifecycle.deadline().is_none_or(|deadline| deadline > self.now);
        prop_assert!(!is_done || is_later, "the machine spins");
        let status = self.lifecycle.status();
        prop_assert!(self.lifecycle.is_status(&self.last_status) == (status == self.last_status), "a stale status");
        self.last_status = status;
        Ok(())
    }
}

#[test]
fn every_lifecycle_keeps_the_rules() {
    holds(CASES, (owns(), events()), |(own, events)| play(own, events, None));
}

#[test]
fn every_broken_rule_is_found() {
    for (fault, rule) in [
        (Fault::HiddenSwap, "another card has the same insertion id"),
        (Fault::GoodEnd, "another card has the same insertion id"),
        (Fault::Nervous, "the same card has another insertion id"),
        (Fault::Amnesia, "the state tag goes back"),
        (Fault::StoppedClock, "the machine spins"),
    ] {
        is_broken(CASES, (owns(), events()), |(own, events)| play(own, events, Some(fault)), fault, rule);
    }
}
