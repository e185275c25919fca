//! The program `cardbroker` against a fake broker that each test scripts.

#![cfg(unix)]

#[cfg(test)]
mod cards;
#[cfg(test)]
mod command_line;
#[cfg(test)]
mod completion;
#[cfg(test)]
mod operators;
#[cfg(test)]
mod session_line;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod session_prompt;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod signals;
#[cfg(test)]
#[path = "../../../rust/tests/support/mod.rs"]
mod support;
#[cfg(test)]
mod top;
#[cfg(test)]
mod trace;
