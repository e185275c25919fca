//! A way in for the fuzz targets, which stand outside: the gate, with a lease of its own.

use std::io;

use cardbroker_core::{
    card::{
        pin_guard::{Guarded, PinGuard},
        unit::Exchange,
    },
    error::Failure,
    turns::lease::{Lease, Leases},
};

use super::gate;
use crate::policy::access::Access;
use crate::process::random::hash_key;

/// The gate before one card, and one holder's lease.
pub struct FuzzGate {
    gate: gate::Gate,
    leases: Leases,
    lease: Lease,
    access: Access,
}

impl FuzzGate {
    /// A gate that asks `access`, and guards known wrong PINs, last tries, both or nothing.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new(access: Access, known_wrong: bool, last_try: bool) -> io::Result<Self> {
        let mut leases = Leases::default();
        let lease = leases.grant();
        let guard = PinGuard::new(Guarded { known_wrong, last_try }, hash_key()?);
        Ok(Self { gate: gate::Gate::new(guard), leases, lease, access })
    }

    /// Asks for an exchange, and counts it as sent if it passes.
    ///
    /// # Errors
    /// It may not be sent.
    pub fn passes(&mut self, exchange: &Exchange<'_>) -> Result<(), Failure> {
        self.gate.admit(&self.lease, &self.access, exchange)?;
        self.gate.sends(exchange);
        Ok(())
    }

    /// A response has come.
    pub fn answered(&mut self, response: &[u8]) {
        self.gate.answered(response);
    }

    /// Whether the next caller must get a reset card.
    pub fn is_raised(&self) -> bool {
        self.gate.is_raised()
    }

    /// The card was reset.
    pub fn reset(&mut self) {
        self.gate.reset();
    }

    /// The card is another one.
    pub fn forget(&mut self) {
        self.gate.forget();
    }

    /// The holder's turn is over.
    pub fn end_lease(&mut self) {
        self.leases.end();
    }
}
