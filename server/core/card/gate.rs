//! The gate before the card: decides whether an exchange may be sent now. It decides between the answer to one exchange
//! and the next exchange, so that a lease that has ended or a rule that has changed takes effect at once.
//!
//! ```text
//!           Gate::admit()              Admitted::exchange()
//! Exchange ─▶ lease, policy, guard ─▶ Admitted ─▶ CardCommand ─▶ card ─▶ view and guard are updated
//! ```

use std::{borrow::Cow, sync::Arc};

use super::{
    marks::CardMarks,
    pin_guard::{Allowed, Passed, PinGuard},
    unit::{Exchange, UnitCommand},
    view::CardView,
};
use crate::{
    apdu::{ApduBytes, Class, Header, ParsedCommand},
    error::{Cause, Failure, Reason},
    policy::{Application, Command, CommandRules, Decision, rule::Operation},
    slot::CardCommand,
    turns::lease::Lease,
};

/// The gate of one reader, with the view of its card and the PIN guard. Owned by the card thread.
pub struct Gate {
    view: CardView,
    guard: PinGuard,
    /// For the sessions of the reader.
    marks: Arc<CardMarks>,
}

/// The reason why an exchange is not admitted. The card has received nothing of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The turn of the lease's holder has ended: [`Reason::LeaseEnded`].
    LeaseEnded(Failure),
    /// A rule forbids the operation with this command, or no rule allows it.
    Denied(Decision, Operation),
    /// The PIN guard saves a try: [`Reason::PinKnownWrong`] or [`Reason::PinLastTry`].
    PinGuarded(Failure),
}

/// An admitted exchange, with its command parsed once. Only it can make a [`CardCommand`], and a slot sends nothing
/// else:
///
/// ```
/// # use cardbroker_core::{apdu::ApduBytes, card::{gate::Gate, unit::Exchange}, policy::CommandRules};
/// # use cardbroker_core::{slot::{CardCommand, SlotError}, turns::lease::Lease};
/// # fn slot(_: CardCommand<'_>) -> Result<ApduBytes, SlotError> { Err(SlotError::NoCard) }
/// fn send(gate: &mut Gate, lease: &Lease, rules: &CommandRules<'_>, exchange: Exchange<'_>) {
///     let Ok(admitted) = gate.admit(lease, rules, exchange) else { return };
///     let _ = admitted.exchange(slot);
/// }
/// ```
///
/// An exchange cannot be sent without admission,
///
/// ```compile_fail,E0308
/// # use cardbroker_core::{apdu::ApduBytes, card::{gate::Gate, unit::Exchange}, policy::CommandRules};
/// # use cardbroker_core::{slot::{CardCommand, SlotError}, turns::lease::Lease};
/// # fn slot(_: CardCommand<'_>) -> Result<ApduBytes, SlotError> { Err(SlotError::NoCard) }
/// fn send(gate: &mut Gate, lease: &Lease, rules: &CommandRules<'_>, exchange: Exchange<'_>) {
///     let _ = slot(exchange.bytes());
/// }
/// ```
///
/// nor by a command that was not admitted,
///
/// ```compile_fail,E0624
/// # use cardbroker_core::{apdu::ApduBytes, card::{gate::Gate, unit::Exchange}, policy::CommandRules};
/// # use cardbroker_core::{slot::{CardCommand, SlotError}, turns::lease::Lease};
/// # fn slot(_: CardCommand<'_>) -> Result<ApduBytes, SlotError> { Err(SlotError::NoCard) }
/// fn send(gate: &mut Gate, lease: &Lease, rules: &CommandRules<'_>, exchange: Exchange<'_>) {
///     let _ = slot(CardCommand::new(exchange.bytes()));
/// }
/// ```
///
/// nor twice by one admission,
///
/// ```compile_fail,E0382
/// # use cardbroker_core::{apdu::ApduBytes, card::{gate::Gate, unit::Exchange}, policy::CommandRules};
/// # use cardbroker_core::{slot::{CardCommand, SlotError}, turns::lease::Lease};
/// # fn slot(_: CardCommand<'_>) -> Result<ApduBytes, SlotError> { Err(SlotError::NoCard) }
/// fn send(gate: &mut Gate, lease: &Lease, rules: &CommandRules<'_>, exchange: Exchange<'_>) {
///     let Ok(admitted) = gate.admit(lease, rules, exchange) else { return };
///     let _ = admitted.exchange(slot);
///     let _ = admitted.exchange(slot);
/// }
/// ```
///
/// nor by an admission from before a reset of the card:
///
/// ```compile_fail,E0499
/// # use cardbroker_core::{apdu::ApduBytes, card::{gate::Gate, unit::Exchange}, policy::CommandRules};
/// # use cardbroker_core::{slot::{CardCommand, SlotError}, turns::lease::Lease};
/// # fn slot(_: CardCommand<'_>) -> Result<ApduBytes, SlotError> { Err(SlotError::NoCard) }
/// fn send(gate: &mut Gate, lease: &Lease, rules: &CommandRules<'_>, exchange: Exchange<'_>) {
///     let Ok(admitted) = gate.admit(lease, rules, exchange) else { return };
///     gate.reset();
///     let _ = admitted.exchange(slot);
/// }
/// ```
///
/// Has no `Debug`: the command may contain a PIN, and the guard holds its hash.
#[must_use = "an admitted exchange is sent at once, or dropped"]
pub struct Admitted<'a> {
    gate: &'a mut Gate,
    command: Cow<'a, ParsedCommand>,
    passed: Passed,
}

impl Gate {
    /// Creates the gate of a reader before its first card.
    pub fn new(guard: PinGuard) -> Self {
        Self { view: CardView::default(), guard, marks: Arc::default() }
    }

    /// Lets the gate keep these marks of the reader's card up to date.
    pub fn marking(self, marks: Arc<CardMarks>) -> Self {
        Self { marks, ..self }
    }

    /// Admits an exchange if the lease is valid, `rules` allow its command and the PIN guard lets it pass.
    ///
    /// # Errors
    /// The first refusal in the order lease, policy, PIN guard.
    pub fn admit<'a>(
        &'a mut self,
        lease: &Lease,
        rules: &CommandRules<'_>,
        exchange: Exchange<'a>,
    ) -> Result<Admitted<'a>, Refusal> {
        check(lease).map_err(Refusal::LeaseEnded)?;
        if let Some(header) = exchange.header_of_choice() {
            let selected = match header {
                Header::Read([class, ..]) => self.view.application(Class(class)),
                Header::Unreadable => None,
            };
            let application = selected.map_or(Application::Unknown, Application::Known);
            let command = Command { header, application };
            let overrides = exchange.command.allow_known_wrong.then_some(Operation::GuardOverride);
            for operation in [Some(rules.operation), overrides].into_iter().flatten() {
                let decision = CommandRules { operation, ..*rules }.decide(command);
                if !decision.allowed {
                    return Err(Refusal::Denied(decision, operation));
                }
            }
        }
        let Exchange { sent: command, command: UnitCommand { allow_last_try, allow_known_wrong, .. }, .. } = exchange;
        let allowed = Allowed { last_try: *allow_last_try, known_wrong: *allow_known_wrong };
        let passed = self.guard.admit(&command, allowed, &self.view).map_err(Refusal::PinGuarded)?;
        Ok(Admitted { gate: self, command, passed })
    }

    /// Whether the card may hold security state or an unfetched answer, which the next caller must not find.
    pub fn is_raised(&self) -> bool {
        self.view.is_raised()
    }

    /// Records that the card was reset.
    pub fn reset(&mut self) {
        self.view.reset();
        self.guard.reset();
        self.mark_reset();
    }

    /// Records that the card was replaced, or may have been used outside the broker.
    pub fn forget(&mut self) {
        self.view.reset();
        self.guard.forget();
        self.mark_reset();
    }

    fn mark_reset(&self) {
        self.marks.on_reset();
        self.mark();
    }

    fn mark(&self) {
        self.marks.record(self.view.selection_changes(), self.view.is_raised());
    }
}

impl Admitted<'_> {
    /// Sends the command through `slot`, and records its possible effects and the card's answer.
    ///
    /// # Errors
    /// The error of `slot`. The command counts as sent.
    pub fn exchange<E>(self, slot: impl FnOnce(CardCommand<'_>) -> Result<ApduBytes, E>) -> Result<ApduBytes, E> {
        let Self { gate, command, passed } = self;
        gate.guard.sends(passed);
        gate.view.sends(&command);
        gate.mark();
        let response = slot(CardCommand::new(command.bytes()))?;
        gate.view.answered(&response);
        if let Some(name) = gate.view.take_confirmed_name() {
            gate.guard.confirmed(name);
        }
        gate.guard.answered(&response);
        gate.mark();
        Ok(response)
    }
}

/// Checks that the lease is valid, that is, that its holder still has the turn.
///
/// # Errors
/// [`Reason::LeaseEnded`], not sent, otherwise.
pub fn check(lease: &Lease) -> Result<(), Failure> {
    match (lease.is_valid(), lease.is_released()) {
        (true, _) => Ok(()),
        (false, true) => Err(released()),
        (false, false) => Err(lease_ended()),
    }
}

/// The failure of a command that comes after an operator has ended the turn.
pub fn released() -> Failure {
    let message = "an operator of the broker has ended the turn: request another one";
    Failure::revoked(Cause::Released, message)
}

/// The failure of a command that comes after the end of its turn.
pub fn lease_ended() -> Failure {
    Failure::not_sent(
        Reason::LeaseEnded,
        "the turn ended before the command was sent: send it and the following commands again",
    )
}

#[cfg(test)]
mod tests;
