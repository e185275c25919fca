//! Checks of the order of turns, and of the answers to callers.

use cardbroker_core::{card::unit::UnitOutcome, turns::turn::Disposition};
use futures_util::FutureExt;
use tokio::sync::oneshot::error::TryRecvError;

use super::{
    super::*,
    clients::{Clients, Hand, Stage},
    history::{USERS, user_of},
    witness::{Generation, Promise},
    world::{World, tag},
};
use crate::reader::session::{Opening, OpeningEvent, SessionEvent};

impl World {
    /// The actor has given the card thread a job.
    pub(super) fn given(&mut self, job: &Job) {
        let demands = |group: Generation| {
            self.witness.suspect().is_some_and(|left| left != group || self.clients.has_ended(left))
        };
        let last = if matches!(job, Job::Session(_)) { None } else { self.last_unit.take() };
        let (is_reset, is_needed, begins) = match job {
            Job::Unit(unit) => {
                let Some(number) = self.clients.item_of(&unit.ticket) else { return };
                let item = &self.clients.items[number];
                self.last_unit = Some(number);
                (unit.reset.is_some(), item.wish.reset_before.is_some() || demands(item.group), Some(number))
            }
            Job::Reset(_) => match self.actor.worker.work() {
                Some(Work::Opening { number, .. }) => {
                    let number = self.number(*number);
                    let item = &self.clients.items[number];
                    (true, item.wish.reset_before.is_some() || demands(item.group), Some(number))
                }
                _ => {
                    let is_asked_for =
                        last.is_some_and(|last| self.clients.items[last].wish.disposition != Disposition::Leave);
                    let is_stale = self.witness.suspect().is_some_and(|left| self.clients.has_ended(left));
                    (true, is_asked_for || is_stale, None)
                }
            },
            _ => return,
        };
        let detail = || format!("{begins:?} is reset: {is_reset}");
        self.witness.expect(Promise::ResetForAReason, is_reset == is_needed, detail);
        if let Some(number) = begins {
            self.begins(number);
            if let Job::Unit(_) = job {
                self.tag_of_turn(tag(&self.actor.lifecycle.state_tag()));
            }
        }
    }

    /// The turn of an item has begun.
    fn begins(&mut self, number: usize) {
        let clients = &mut self.clients;
        let (caller, is_first) = (clients.items[number].wish.caller, clients.items[number].stage == Stage::Waiting);
        if !is_first {
            return;
        }
        let is_ready = self.actor.lifecycle.card().is_some();
        self.witness.expect(Promise::OnlyReady, is_ready, || format!("{number} begins without a card"));
        clients.items[number].stage = Stage::Begun;
        clients.items[number].insertion = self.actor.lifecycle.insertion_id();
        let (user, group) = (user_of(caller), clients.items[number].group);
        let within = |(of, last, began)| (of, last) == (user, group) && self.now < began + self.quantum;
        let holds_card = clients.visit.is_some_and(|(of, last, _)| (of, last) == (user, group));
        let is_visit = !clients.visit.is_some_and(within);
        if is_visit {
            clients.visit = Some((user, group, self.now));
        }
        for (other, item) in clients.items.iter_mut().enumerate().filter(|(_, item)| item.stage == Stage::Waiting) {
            if item.wish.caller == caller {
                self.witness.expect(Promise::InOrder, other > number, || format!("{number} before {other}"));
            } else if is_visit && user_of(item.wish.caller) == user {
                item.turns[caller] += 1;
                item.overtaken[caller] |= holds_card;
                // One more if its group held the card.
                let (had, due) = (item.turns[caller], item.ahead + 1 + usize::from(item.overtaken[caller]));
                let story = || format!("{had} turns of {caller} before {other}");
                self.witness.expect(Promise::FairToCallers, had <= due, story);
            }
        }
        // One more while a user is in debt.
        let due = 1 + usize::from(!self.quantum.is_zero());
        for waiting in 0..USERS {
            if waiting == user {
                clients.visits[waiting] = [0; USERS];
            } else if is_visit && clients.waiting().any(|item| user_of(item.wish.caller) == waiting) {
                clients.visits[waiting][user] += 1;
                let had = clients.visits[waiting][user];
                let story = || format!("{had} visits of user {user} while user {waiting} waits");
                self.witness.expect(Promise::FairToUsers, had <= due, story);
            }
        }
    }

    fn tag_of_turn(&mut self, tag: u64) {
        let last = std::mem::replace(&mut self.clients.last_turn, tag);
        self.witness.expect(Promise::TagMoves, last < tag, || format!("turns {last} and {tag}"));
    }

    /// The callers receive their answers.
    pub(super) fn receive_answers(&mut self) {
        let mut begun = None;
        for number in 0..self.clients.items.len() {
            match std::mem::replace(&mut self.clients.items[number].hand, Hand::Empty) {
                Hand::Unit(mut unit) => match unit.outcome().now_or_never() {
                    Some(outcome) => self.on_outcome(number, outcome),
                    None => self.clients.items[number].hand = Hand::Unit(unit),
                },
                Hand::Opening(opening) => begun = self.hear_opening(number, opening).or(begun),
                Hand::Session(mut session) => loop {
                    match session.news().now_or_never() {
                        Some(SessionEvent::Waiters(_)) => {}
                        Some(SessionEvent::Over(over)) => {
                            self.clients.items[number].stage = Stage::Over;
                            self.witness.owes(number, Some(ResetKind::Warm));
                            if over.hangs {
                                self.abandon(number, &over.failure);
                                break;
                            }
                        }
                        None => {
                            self.clients.items[number].hand = Hand::Session(session);
                            break;
                        }
                    }
                },
                Hand::Empty => {}
            }
        }
        if let Some((number, tag)) = begun {
            self.begins(number);
            self.tag_of_turn(tag);
        }
        self.hear_answers();
    }

    /// The session answers its own tasks, because nothing else does.
    fn abandon(&mut self, number: usize, failure: &Failure) {
        let Clients { requested, resets, .. } = &mut self.clients;
        requested
            .iter()
            .filter(|requested| requested.item == number)
            .for_each(|requested| requested.unit.abandon(failure, self.now));
        resets.iter_mut().filter(|(of, _)| *of == number).for_each(|(_, reset)| reset.abandon(failure));
    }

    fn hear_opening(&mut self, number: usize, mut opening: Opening) -> Option<(usize, u64)> {
        let item = &mut self.clients.items[number];
        match opening.next().now_or_never() {
            Some(Ok(OpeningEvent::TurnsAhead(_))) => return self.hear_opening(number, opening),
            Some(Ok(OpeningEvent::Begun(session))) => {
                let tag = tag(&session.turn().state_tag);
                item.hand = Hand::Session(session);
                return Some((number, tag));
            }
            Some(Err(failure)) => self.on_outcome(number, Err(failure)),
            None => item.hand = Hand::Opening(opening),
        }
        None
    }

    fn on_outcome(&mut self, number: usize, answer: Result<UnitOutcome, Failure>) {
        let item = &mut self.clients.items[number];
        item.stage = Stage::Over;
        let reason = answer.as_ref().err().map(|failure| failure.reason);
        if reason == Some(Reason::QueueFull) {
            self.last_full = Some(number);
        }
        self.witness.expect(Promise::Answered, reason != Some(Reason::Internal), || format!("{number} was forgotten"));
        self.witness.judge(number, 0, item.wish.commands, &answer);
    }

    fn hear_answers(&mut self) {
        let Self { clients, witness, .. } = self;
        clients.requested.retain_mut(|requested| match requested.unit.answer.try_recv() {
            Ok(answer) => {
                witness.judge(requested.item, requested.first, requested.count, &answer);
                false
            }
            Err(TryRecvError::Empty) => true,
            Err(TryRecvError::Closed) => {
                witness.expect(Promise::Answered, false, || format!("a unit of {} was forgotten", requested.item));
                false
            }
        });
        clients.resets.retain_mut(|(_, reset)| reset.outcome().now_or_never().is_none());
        clients.closing.retain_mut(|closing| closing.now_or_never().is_none());
    }
}
