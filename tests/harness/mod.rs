//! What end-to-end tests run their stories on.

pub mod broker;
pub mod memory;
pub mod pcscd;
pub mod programs;
pub mod run;
