//! The foundation of the end-to-end tests: virtual cards, a private PC/SC service, rival programs.

pub mod cards;
pub mod harness;
