//! The gate before the card: may this exchange be sent now? Asked between exchanges, after the answers so far and before
//! the next one leaves, so that nothing slips through that has ended, or become forbidden, in the meantime.
//!
//! ```text
//!           Gate::admit()              Admitted::exchange()
//! Exchange ─▶ lease, policy, guard ─▶ Admitted ─▶ CardCommand ─▶ card ─▶ what the next exchange finds
//! ```

use super::{
    pin_guard::{Passed, PinGuard},
    unit::{Exchange, UnitCommand},
    view::CardView,
};
use crate::{
    apdu::{ApduBytes, Class, Header, ParsedCommand},
    error::{Failure, Reason},
    policy::{Application, Command, CommandRules, Decision},
    slot::CardCommand,
    turns::lease::Lease,
};

/// The gate of one reader, with what is known of the card in it. Owned by the card thread.
pub struct Gate {
    view: CardView,
    guard: PinGuard,
}

/// Why an exchange is kept from the card. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The holder's turn was taken away: [`Reason::LeaseEnded`].
    LeaseEnded(Failure),
    /// A rule forbids the command, or no rule allows it.
    Denied(Decision),
    /// The guard of PINs saves a try: [`Reason::PinKnownWrong`] or [`Reason::PinLastTry`].
    PinKept(Failure),
}

/// An exchange that may be sent now, read once. It is the only way to a [`CardCommand`], which is all that a slot sends:
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
/// Has no `Debug`: the command may be a PIN, and the guard has its hash.
#[must_use = "an exchange that was admitted is sent at once, or dropped"]
pub struct Admitted<'a> {
    gate: &'a mut Gate,
    command: ParsedCommand,
    passed: Passed,
}

impl Gate {
    /// Creates the gate of a reader whose card is not known yet.
    pub fn new(guard: PinGuard) -> Self {
        Self { view: CardView::default(), guard }
    }

    /// Lets one exchange pass, while its holder has the turn and `rules` allow its command.
    ///
    /// # Errors
    /// The first of lease, policy and PIN guard that forbids it, in this order.
    pub fn admit(
        &mut self,
        lease: &Lease,
        rules: &CommandRules<'_>,
        exchange: Exchange<'_>,
    ) -> Result<Admitted<'_>, Refusal> {
        check(lease).map_err(Refusal::LeaseEnded)?;
        if let Some(header) = exchange.header_of_choice() {
            let selected = match header {
                Header::Read([class, ..]) => self.view.application(Class(class)),
                Header::Unreadable => None,
            };
            let application = selected.map_or(Application::Unknown, Application::Known);
            let decision = rules.decide(Command { header, application });
            if !decision.allowed {
                return Err(Refusal::Denied(decision));
            }
        }
        let Exchange { sent: command, command: UnitCommand { allow_last_try, .. }, .. } = exchange;
        let passed = self.guard.admit(&command, *allow_last_try, &self.view).map_err(Refusal::PinKept)?;
        Ok(Admitted { gate: self, command, passed })
    }

    /// Whether something may be left in the card that the next caller must not find.
    pub fn is_raised(&self) -> bool {
        self.view.is_raised()
    }

    /// Records that the card was reset.
    pub fn reset(&mut self) {
        self.view.reset();
    }

    /// Records that the card is another one, or may have been in other hands.
    pub fn forget(&mut self) {
        self.view.reset();
        self.guard.forget();
    }
}

impl Admitted<'_> {
    /// Sends the command by `slot`, and records what it may have done and what the card has answered.
    ///
    /// # Errors
    /// Those of `slot`. The command counts as sent.
    pub fn exchange<E>(self, slot: impl FnOnce(CardCommand<'_>) -> Result<ApduBytes, E>) -> Result<ApduBytes, E> {
        let Self { gate, command, passed } = self;
        gate.guard.sends(passed);
        gate.view.sends(&command);
        let response = slot(CardCommand::new(command.bytes()))?;
        gate.view.answered(&response);
        gate.guard.answered(&response);
        Ok(response)
    }
}

/// Whether the holder still has its turn.
///
/// # Errors
/// [`Reason::LeaseEnded`], not sent, if it was taken away.
pub fn check(lease: &Lease) -> Result<(), Failure> {
    if lease.is_valid() {
        return Ok(());
    }
    Err(Failure::not_sent(
        Reason::LeaseEnded,
        "the turn was taken away before the command was sent: send the rest again",
    ))
}

#[cfg(test)]
mod tests;
