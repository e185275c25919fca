//! The actions of the model for each decision, and the checks of decisions.

use std::{collections::BTreeSet, time::Duration};

use proptest::{prelude::*, test_runner::TestCaseResult};

use super::{Event, Fault, Turn, World, ms};
use crate::turns::{
    debts::Debts,
    quantum::MAX_LINGER,
    schedule::{Continuation, Decision},
};

impl World {
    /// Carries out the next decision and removes expired requests, as the actor does.
    pub(super) fn advance(&mut self) -> TestCaseResult {
        if self.fault == Some(Fault::ForgottenDebt) {
            self.schedule.debts = Debts::default();
        }
        if !self.is_resetting {
            let now = self.instant();
            let mut decision = self.schedule.next(now);
            if self.fault == Some(Fault::LingerForNobody) && decision == Decision::Idle && self.schedule.visit.is_some()
            {
                decision = Decision::Linger(now + MAX_LINGER);
            }
            if self.fault == Some(Fault::Idleness)
                && let Decision::Start { number, .. } = decision
                && self.schedule.next == Some((number, Continuation::GoesOn))
            {
                decision = Decision::Linger(now + ms(50));
            }
            self.carry_out(decision)?;
        }
        let now = self.now;
        while let Some((number, (index, ..))) =
            self.waiting.iter().find(|(_, (_, _, deadline, _))| *deadline <= now).map(|(number, of)| (*number, *of))
        {
            self.waiting.remove(&number);
            self.schedule.remove(number, self.instant());
            self.expired += 1;
            self.look_for_contention();
            self.answer(index);
        }
        if let Some(deadline) = self.waiting.values().map(|(_, _, deadline, _)| *deadline).min()
            && self.looks.insert(deadline)
        {
            self.at(deadline, Event::Look);
        }
        Ok(())
    }

    fn carry_out(&mut self, decision: Decision) -> TestCaseResult {
        let is_busy = self.under_way.is_some();
        match decision {
            Decision::Start { number, reset, .. } => {
                prop_assert!(!is_busy, "a turn begins inside another");
                self.start(number, reset)?;
            }
            Decision::Reset => {
                prop_assert!(!is_busy, "a reset inside a turn");
                self.is_resetting = true;
                self.at(self.now + self.reset, Event::ResetDone(false));
            }
            Decision::Linger(end) => {
                prop_assert!(!self.waiting.is_empty(), "lingers for nobody");
                let end = end - self.base;
                let visit = self.schedule.visit.as_ref();
                let pair = visit.is_some_and(|visit| visit.is_pair_open);
                let patience = if pair { self.schedule.settings.pair } else { MAX_LINGER };
                let last = self.turns.last().map_or(Duration::ZERO, |turn| turn.ended);
                prop_assert!(end > self.now && end <= last + patience, "idles while somebody waits");
                let in_visit = visit.is_some_and(|visit| self.ended.contains(&visit.group));
                prop_assert!(!in_visit, "the card is kept for a group that has ended");
                let expires = self.waiting.values().any(|(_, _, deadline, _)| *deadline <= end);
                prop_assert!(!expires, "a request expires for a lingerer");
                self.lingered += end - self.now;
                self.at(end, Event::Look);
            }
            Decision::Idle => {
                prop_assert!(self.waiting.is_empty(), "idles while somebody waits");
                let kept = self.schedule.raised.is_some_and(|group| self.ended.contains(&group));
                prop_assert!(!kept, "the card is kept for a group that has ended");
            }
            Decision::Busy(look) => {
                prop_assert!(is_busy, "busy with nothing");
                self.is_stopped = false;
                if let Some(look) = look {
                    self.at(look - self.base, Event::Look);
                }
            }
            Decision::Stop => self.stop()?,
        }
        Ok(())
    }

    fn stop(&mut self) -> TestCaseResult {
        let Some((turn, _)) = &self.under_way else { return Err(TestCaseError::fail("stops nothing")) };
        let (began, holder) = (turn.began, self.group(turn.caller));
        let others = self.waiting.values().filter(|(caller, ..)| self.group(*caller) != holder);
        let users: BTreeSet<_> = others.clone().map(|(caller, ..)| self.callers[*caller].user).collect();
        let oldest = others.map(|(_, arrived, ..)| *arrived).min();
        let is_due = self.contended.zip(oldest).is_some_and(|(since, oldest)| {
            let from = since.max(began);
            let kind = self.callers[turn.caller].kind;
            from + self.schedule.settings.bounds.turn(kind, users.len(), from.saturating_sub(oldest)) <= self.now
        });
        prop_assert!(is_due, "a turn is stopped without contention");
        self.stopped += usize::from(!self.is_stopped);
        self.is_stopped = true;
        Ok(())
    }

    fn start(&mut self, number: u64, reset: bool) -> TestCaseResult {
        let Some((caller, arrived, _, bound)) = self.waiting.remove(&number) else {
            return Err(TestCaseError::fail("a turn for nobody"));
        };
        prop_assert!(self.now - arrived <= bound, "waits longer than the bound");
        if self.schedule.next.is_some_and(|(_, manner)| manner != Continuation::GoesOn) {
            let user = self.callers[caller].user;
            let waiting: BTreeSet<_> = self.waiting.values().map(|(caller, ..)| *caller).collect();
            for other in waiting.into_iter().filter(|&other| other != caller && self.callers[other].user == user) {
                let picked = self.picked.entry((caller, other)).or_default();
                *picked += 1;
                // Once in the running cycle, and once in the next if its group holds the card.
                prop_assert!(*picked <= 2, "twice in one cycle");
            }
        }
        self.picked.retain(|(_, waiting), _| *waiting != caller);
        self.schedule.on_turn_began(number, self.instant());
        self.own_contention();
        let turn = Turn { caller, arrived, began: self.now, sent: self.now, ended: self.now };
        self.under_way = Some((turn, self.callers[caller].length));
        self.contended = None;
        self.look_for_contention();
        if reset {
            self.resets += 1;
            *self.charged.entry(self.callers[caller].user).or_default() += self.reset;
            self.is_resetting = true;
            self.at(self.now + self.reset, Event::ResetDone(true));
        } else {
            self.next_command();
        }
        // The next decision includes the bound of the turn.
        self.at(self.now, Event::Look);
        Ok(())
    }
}
