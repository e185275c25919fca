//! Turns at a reader: rounds by user, visits with a quantum, bounds, places, the lease of the holder, and the terms of
//! waiting.
//!
//! [`schedule`] decides; the reader's actor reports events and carries out the decisions. Its parts: [`rounds`] (the
//! next request), `visit` (when the next request of the same group comes first), [`quantum`], [`comebacks`] and
//! [`debts`] (for how long), [`bounds`] (the maximum time of one turn while others wait). [`places`] limits the waiting
//! requests of one user.

pub mod bounds;
pub mod comebacks;
pub mod debts;
mod hash;
pub mod isolation;
pub mod lease;
pub mod limits;
pub mod places;
pub mod quantum;
pub mod request;
pub mod rounds;
pub mod schedule;
#[cfg(test)]
mod tests;
pub mod turn;
mod visit;
pub mod waiting;
