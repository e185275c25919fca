//! Who asks: isolation groups, and the tokens of callers over TCP.

pub mod group;
pub mod tokens;
