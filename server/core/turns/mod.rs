//! Turns at a reader: the order of requests, the time of turns, the holder's lease, and the terms of waiting.
//!
//! [`schedule`] decides; the reader's actor reports events and carries out the decisions. The schedule has these parts:
//! [`rounds`] selects the next request; `visit` decides whether a request of the same group goes first; [`quantum`],
//! [`comebacks`] and [`debts`] set the time of a visit; [`bounds`] sets the maximum time of a turn while other groups
//! wait. [`places`] limits the waiting requests of one user.

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
