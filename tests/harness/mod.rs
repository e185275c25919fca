//! The world around the broker, one per test.

pub mod pcscd;
pub mod programs;
