//! The client library against a fake broker that each test scripts.

#![cfg(unix)]

#[cfg(test)]
mod diagnostics;
#[cfg(test)]
mod library;
#[cfg(test)]
mod repeat;
#[cfg(test)]
mod session;
#[cfg(test)]
#[path = "../support/mod.rs"]
mod support;
