//! What the end-to-end tests stand on: virtual cards, a private PC/SC service, rival programs.

pub mod cards;
pub mod harness;
