//! The end-to-end tests: a table of contents.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failure here is the test's own message")]

mod world;

/// Virtual cards and private pcscd do what they promise.
mod cards;
/// Programs without a broker break each other's pairs.
mod direct;
/// What one client sees of one card, over both backends.
mod scenarios;
