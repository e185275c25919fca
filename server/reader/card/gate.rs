//! The gate before the card: may this APDU be sent now? Asked between APDUs, after the answers so far and before the next one leaves, so
//! that nothing slips through that has ended, or become forbidden, in the meantime. Pure.
//!
//! ```text
//!             admit()              sends()          answered()
//! exchange ─▶ lease, policy, guard ─────▶ card ──────────────▶ what the next exchange finds
//! ```

use cardbroker_core::{
    apdu::{Class, Header},
    card::{pin_guard::PinGuard, unit::Exchange, view::CardView},
    error::{Failure, Reason},
    policy::{Application, Command},
    turns::lease::Lease,
};

use crate::policy::access::Access;

/// The gate of one reader, with what is known of the card in it. Owned by the card thread.
pub(in crate::reader) struct Gate {
    view: CardView,
    guard: PinGuard,
}

impl Gate {
    pub(in crate::reader) fn new(guard: PinGuard) -> Self {
        Self { view: CardView::default(), guard }
    }

    /// Lets one exchange pass.
    ///
    /// # Errors
    /// Not sent: [`Reason::LeaseEnded`] if the holder's turn was taken away, [`Reason::Denied`], or what [`PinGuard::admit`] says.
    pub(in crate::reader) fn admit(
        &self,
        lease: &Lease,
        access: &Access,
        exchange: &Exchange<'_>,
    ) -> Result<(), Failure> {
        check(lease)?;
        if let Some(header) = exchange.header_of_choice() {
            let selected = match header {
                Header::Read([class, ..]) => self.view.application(Class(class)),
                Header::Unreadable => None,
            };
            let application = selected.map_or(Application::Unknown, Application::Known);
            access.check_command(Command { header, application })?;
        }
        self.guard.admit(&exchange.bytes, exchange.command.allow_last_try, &self.view)
    }

    /// An exchange that was admitted is about to be sent.
    pub(in crate::reader) fn sends(&mut self, exchange: &Exchange<'_>) {
        self.guard.sends(&exchange.bytes, &self.view);
        self.view.sends(&exchange.bytes);
    }

    /// A response has come.
    pub(in crate::reader) fn answered(&mut self, response: &[u8]) {
        self.view.answered(response);
        self.guard.answered(response);
    }

    /// Whether something may be left in the card that the next caller must not find.
    pub(in crate::reader) fn is_raised(&self) -> bool {
        self.view.is_raised()
    }

    /// The card was reset.
    pub(in crate::reader) fn reset(&mut self) {
        self.view.reset();
    }

    /// The card is another one, or may have been in other hands.
    pub(in crate::reader) fn forget(&mut self) {
        self.view.reset();
        self.guard.forget();
    }
}

/// Whether the holder still has its turn.
///
/// # Errors
/// [`Reason::LeaseEnded`], not sent, if it was taken away.
pub(in crate::reader) fn check(lease: &Lease) -> Result<(), Failure> {
    if lease.is_valid() {
        return Ok(());
    }
    Err(Failure::not_sent(
        Reason::LeaseEnded,
        "the turn was taken away before the command was sent: send the rest again",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cardbroker_core::{error::Delivery, turns::lease::Leases};

    #[test]
    fn nothing_passes_once_the_lease_has_ended() {
        let mut leases = Leases::default();
        let lease = leases.grant();
        assert_eq!(check(&lease), Ok(()));
        leases.end();
        let refused = check(&lease).unwrap_err();
        assert_eq!((refused.reason, refused.delivery), (Reason::LeaseEnded, Delivery::NotSent));
    }
}
