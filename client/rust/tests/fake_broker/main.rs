//! The client library and the command line against a broker that answers as a test tells it to.

#![cfg(unix)]

#[cfg(test)]
mod broker;
#[cfg(test)]
mod command_line;
#[cfg(test)]
mod library;
#[cfg(test)]
mod repeat;
#[cfg(test)]
mod script;
#[cfg(test)]
mod session;
#[cfg(test)]
mod session_line;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod session_prompt;
