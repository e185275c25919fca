//! The broker's decisions, pure: no clock, no thread, no input and output.

pub mod apdu;
pub mod caller;
pub mod card;
pub mod error;
pub mod keyed_hash;
pub mod lifecycle;
pub mod outcomes;
pub mod policy;
#[cfg(any(test, feature = "properties"))]
pub mod properties;
pub mod simulated_card;
pub mod slot;
pub mod status;
pub mod turns;
