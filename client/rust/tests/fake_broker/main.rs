//! The client library against a broker that answers as a test tells it to.

#![cfg(unix)]

#[cfg(test)]
mod library;
#[cfg(test)]
mod repeat;
#[cfg(test)]
mod session;
#[cfg(test)]
#[path = "../support/mod.rs"]
mod support;
