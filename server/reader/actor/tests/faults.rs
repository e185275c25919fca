//! Planted faults: each makes the reader break one promise, which proves that the property detects it.

use std::{sync::Arc, time::Duration};

use cardbroker_core::{
    caller::CallerKey,
    turns::{lease::Leases, turn::Disposition},
};

use super::{super::*, history::Step, witness::Promise, world::World};
use crate::reader::jobs::UnitJob;

/// A fault planted in the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The last of a caller's requests is served first.
    LastFirst,
    /// The schedule treats all callers of a user as one.
    OneRound,
    /// The schedule treats all users as one.
    OneUser,
    /// A request is dropped before it reaches the queue.
    LostWaiter,
    /// A request may wait past its timeout.
    Overstay,
    /// The limits are not checked.
    TooMany,
    /// The actor continues before the card thread has reported.
    EarlyGrant,
    /// The actor serves without checking the reader's state.
    Impatient,
    /// The card thread does not check the lease.
    DeafGate,
    /// The card thread runs a unit twice.
    RunTwice,
    /// A unit runs again after another's turn.
    Replay,
    /// A running unit is answered as not sent.
    Disowned,
    /// A reset does not happen.
    ForgottenReset,
    /// A reset happens without a reason.
    NeedlessReset,
    /// The disposition of the card after a turn is lost.
    ForgottenDisposition,
    /// A group's end is not detected.
    ImmortalGroup,
    /// Insertions are counted anew after a swap.
    Recount,
    /// The reader's state is forgotten when the service fails.
    Amnesia,
    /// The delay of retries does not elapse.
    StoppedClock,
}

impl Fault {
    pub(super) const ALL: [Self; 19] = [
        Self::LastFirst,
        Self::OneRound,
        Self::OneUser,
        Self::LostWaiter,
        Self::Overstay,
        Self::TooMany,
        Self::EarlyGrant,
        Self::Impatient,
        Self::DeafGate,
        Self::RunTwice,
        Self::Replay,
        Self::Disowned,
        Self::ForgottenReset,
        Self::NeedlessReset,
        Self::ForgottenDisposition,
        Self::ImmortalGroup,
        Self::Recount,
        Self::Amnesia,
        Self::StoppedClock,
    ];

    /// The promise that the fault breaks.
    pub(super) fn breaks(self) -> Promise {
        match self {
            Self::LastFirst => Promise::InOrder,
            Self::OneRound => Promise::FairToCallers,
            Self::OneUser => Promise::FairToUsers,
            Self::LostWaiter => Promise::Answered,
            Self::Overstay => Promise::Leaves,
            Self::TooMany => Promise::Limits,
            Self::EarlyGrant => Promise::OneAtATime,
            Self::Impatient => Promise::OnlyReady,
            Self::DeafGate => Promise::LeaseHonoured,
            Self::RunTwice => Promise::Once,
            Self::Replay => Promise::Uninterrupted,
            Self::Disowned => Promise::TrueAnswer,
            Self::ForgottenReset => Promise::Isolated,
            Self::NeedlessReset => Promise::ResetForAReason,
            Self::ForgottenDisposition => Promise::ResetAfter,
            Self::ImmortalGroup => Promise::WipedAtOnce,
            Self::Recount => Promise::OneCardPerInsertion,
            Self::Amnesia => Promise::TagMoves,
            Self::StoppedClock => Promise::NeverSpins,
        }
    }
}

/// The additional time for which a request may wait.
pub(super) fn overstay(fault: Option<Fault>) -> Duration {
    if fault == Some(Fault::Overstay) { Duration::from_secs(10) } else { Duration::ZERO }
}

/// The disposition of the card that reaches the reader.
pub(super) fn forgetful(fault: Option<Fault>, disposition: Disposition) -> Disposition {
    if fault == Some(Fault::ForgottenDisposition) { Disposition::Leave } else { disposition }
}

impl World {
    /// Applies faults of the actor.
    pub(super) fn tamper(&mut self, step: &Step) {
        match (self.fault, step) {
            (Some(Fault::EarlyGrant), Step::Pass(_)) if matches!(self.actor.worker.work(), Some(Work::Unit { .. })) => {
                self.actor.worker.take();
                self.actor.schedule.on_turn_ended(None, self.now);
            }
            (Some(Fault::Impatient), Step::Poll) if self.actor.worker.is_idle() => {
                self.actor.serve_next(self.now);
            }
            (Some(Fault::Disowned), Step::Poll) => {
                if let Some(ticket) = self.task.as_ref().and_then(|task| task.ticket.as_ref()) {
                    ticket.end(Some(Failure::not_sent(Reason::QueueTimeout, "late")), self.now);
                }
            }
            (Some(Fault::NeedlessReset), Step::Poll) => {
                self.actor.schedule.end_group_too_early();
            }
            (Some(Fault::Amnesia), Step::Down) | (Some(Fault::Recount), Step::Swap) => {
                let protocols = cardbroker_core::slot::ProtocolChoice::Any;
                self.actor.lifecycle = CardLifecycle::new(
                    cardbroker_core::lifecycle::Own::Always,
                    Duration::ZERO,
                    protocols,
                    "x".into(),
                    self.now,
                );
            }
            _ => {}
        }
    }

    /// Applies faults to messages for the actor.
    pub(super) fn tampered(&mut self, message: Message) -> Option<Message> {
        let flip = |number| if self.fault == Some(Fault::LastFirst) { u64::MAX - number } else { number };
        match message {
            Message::Submit { number, waiting, .. } if self.fault == Some(Fault::LostWaiter) && number % 4 == 3 => {
                std::mem::forget(waiting);
                None
            }
            Message::Submit { number, caller, waiting } => {
                let is_one = self.fault == Some(Fault::OneRound);
                let is_one = is_one && caller != CallerKey::Connection(3);
                let caller = if is_one { CallerKey::Connection(0) } else { caller };
                Some(Message::Submit { number: flip(number), caller, waiting })
            }
            Message::Cancel { number, manner } => Some(Message::Cancel { number: flip(number), manner }),
        }
    }

    /// Returns the item of a number in the queue.
    pub(super) fn number(&self, number: RequestNumber) -> usize {
        let number = if self.fault == Some(Fault::LastFirst) { u64::MAX - number } else { number };
        usize::try_from(number).unwrap()
    }

    /// Applies faults of the card thread. Returns whether the job is one without a request.
    pub(super) fn tampers_with(&mut self, unit: &mut UnitJob) -> bool {
        let is_replay = self.started.iter().any(|ticket| Arc::ptr_eq(ticket, &unit.ticket));
        let again = match self.fault {
            _ if is_replay => None,
            Some(Fault::RunTwice) => Some(&unit.ticket),
            Some(Fault::Replay) => self.started.last(),
            _ => None,
        };
        if let Some(ticket) = again {
            let lease = Leases::default().grant();
            self.tasks.push_front(Job::Unit(UnitJob { ticket: Arc::clone(ticket), lease, reset: None }));
        }
        if self.fault == Some(Fault::DeafGate) {
            unit.lease = Leases::default().grant();
        }
        self.started.push(Arc::clone(&unit.ticket));
        is_replay
    }
}
