//! The part of the card thread for units: drives a unit's state machine and the gate, exchange by exchange.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cardbroker_core::{
    apdu::ApduBytes,
    card::{
        gate,
        unit::{Exchange, Next, UnitRun},
    },
    error::{Failure, Reason},
    journal::{CommandClass, Sent},
    lifecycle::{
        UnitEnd,
        fault::{self, Fault},
    },
    slot::{CardInfo, ResetKind, SlotError},
    turns::{
        bounds,
        lease::{Activity, Lease},
    },
};

use super::thread::CardWorker;
use crate::reader::{spans, ticket::Ticket};

/// The longest wait after a failed exchange for the removal of the card. The slowest driver polls every 400 ms.
const REMOVAL_WAIT: Duration = Duration::from_millis(900);

impl CardWorker {
    /// Runs a unit to its end or first stop, even if its caller disconnects. Does not end the ticket. `session` is the
    /// activity of the session that the unit belongs to, if any.
    pub(super) fn run(
        &mut self,
        ticket: &Ticket,
        lease: &Lease,
        reset: Option<ResetKind>,
        session: Option<&Activity>,
    ) -> Ran {
        let ran = self.try_run(ticket, lease, reset, session);
        if !matches!(ran.end, UnitEnd::InOrder(_)) {
            self.card = None;
            self.gate.forget();
        }
        ran
    }

    fn try_run(&mut self, ticket: &Ticket, lease: &Lease, reset: Option<ResetKind>, session: Option<&Activity>) -> Ran {
        let mut reset_took = None;
        if let Some(kind) = reset {
            let (reset, took) = self.reset(kind, Some((ticket, lease)));
            if let Err(error) = reset {
                // The commands were not sent, with or without a reset.
                return self.fault(&error).of_reset_before_unit().into();
            }
            reset_took = Some((kind, took));
        }
        let Some(card) = self.card.clone() else { return Fault::removed().into() };
        let mut run = match UnitRun::new(&ticket.commands, card.protocol) {
            Ok(run) => run,
            Err(failure) => return Ran { end: UnitEnd::InOrder(card), failure: Some(failure), reset_took },
        };
        let (end, failure) = self.steps(&mut run, card, ticket, lease, session);
        if let Some(partial) = run.take_partial() {
            ticket.push_partial(partial);
        }
        if let Some(session) = session {
            session.set_pair_open(failure.is_none() && run.is_pair_open());
        }
        Ran { end, failure, reset_took }
    }

    /// Sends the exchanges of a unit until it ends or stops. Returns the state in which it left the card, and the
    /// failure that stopped it.
    fn steps(
        &mut self,
        run: &mut UnitRun<'_>,
        card: CardInfo,
        ticket: &Ticket,
        lease: &Lease,
        session: Option<&Activity>,
    ) -> (UnitEnd, Option<Failure>) {
        let mut has_sent = false;
        loop {
            let exchange = match run.next() {
                Next::Finished(stop) => return (UnitEnd::InOrder(card), stop),
                Next::Exchange(exchange) => exchange,
            };
            if lease.is_released() {
                return (UnitEnd::InOrder(card), Some(gate::released()));
            }
            let stops = |requested| has_sent && bounds::stops(requested, Instant::now(), run.is_pair_open());
            if lease.stop_requested().is_some_and(stops) {
                let too_long = || Failure::not_sent(Reason::UnitTooLong, TOO_LONG);
                let failure = if session.is_some() { gate::lease_ended() } else { too_long() };
                return (UnitEnd::InOrder(card), Some(failure));
            }
            match self.exchange(ticket, lease, exchange) {
                Ok((response, took)) => {
                    has_sent = true;
                    if let Some(result) = run.answered(&response, took) {
                        ticket.push(result);
                    }
                }
                Err(NoResponse::Refused(failure)) => return (UnitEnd::InOrder(card), Some(failure)),
                Err(NoResponse::Failed(error)) => {
                    let Fault { end, failure } = self.fault(&error);
                    return (end, Some(failure));
                }
            }
        }
    }

    /// Sends one APDU if the gate admits it. Returns the response, and the time that the reader and the card took.
    fn exchange(
        &mut self,
        ticket: &Ticket,
        lease: &Lease,
        exchange: Exchange<'_>,
    ) -> Result<(ApduBytes, Duration), NoResponse> {
        let (index, completes) = (exchange.index, exchange.completes);
        // Read again for each exchange, because the rules may have changed.
        let policy = ticket.access.policy();
        let admitted = self
            .gate
            .admit(lease, &ticket.access.command_rules(&policy), exchange)
            .map_err(|refusal| NoResponse::Refused(ticket.access.record_refusal(refusal)))?;
        let (span, mut took) = (ticket.record().exchange(completes), Duration::ZERO);
        let exchanged = admitted.exchange(|command| {
            let bytes = command.bytes();
            self.journal.on_command(CommandClass::of(bytes));
            let began = Instant::now();
            let answer = span.in_scope(|| self.watchdog.during(|| self.slot.exchange(command)));
            took = began.elapsed();
            let sent = Sent {
                index: u32::try_from(index + 1).unwrap_or(u32::MAX),
                is_continuation: completes,
                command: bytes,
                response: answer.as_deref().ok(),
                took,
            };
            self.journal.record_command(began, Arc::clone(ticket.access.origin()), lease.number(), sent);
            answer
        });
        spans::exchanged(&span, took, exchanged.is_ok());
        exchanged.map(|response| (response, took)).map_err(NoResponse::Failed)
    }

    /// The meaning of a failed call. Waits for a removal of the card if that changes the meaning.
    pub(super) fn fault(&mut self, error: &SlotError) -> Fault {
        let is_removed =
            fault::leaves_removal_open(error) && self.watchdog.during(|| self.slot.wait_removal(REMOVAL_WAIT));
        fault::meaning(error, is_removed, self.protocols)
    }
}

const TOO_LONG: &str = "the unit used the card for the maximum time while callers of other groups waited: send the \
                        rest in another unit, or in a session";

/// The result of a unit's run, before its ticket ends.
pub(super) struct Ran {
    /// The state in which the unit left the card.
    pub(super) end: UnitEnd,
    /// The failure that stopped it; `None` if it finished.
    pub(super) failure: Option<Failure>,
    /// The kind and duration of the reset at the beginning, if there was one.
    pub(super) reset_took: Option<(ResetKind, Duration)>,
}

impl From<Fault> for Ran {
    fn from(Fault { failure, end }: Fault) -> Self {
        Self { end, failure: Some(failure), reset_took: None }
    }
}

/// The reason for an exchange without a response.
enum NoResponse {
    /// The gate did not admit it.
    Refused(Failure),
    /// The call of the slot failed.
    Failed(SlotError),
}
