//! What end-to-end tests run their stories on.

pub mod broker;
pub mod languages;
pub mod memory;
pub mod nginx;
pub mod pcscd;
pub mod programs;
pub mod proxy;
pub mod run;
pub mod users;
