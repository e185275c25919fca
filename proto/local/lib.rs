//! Conventions of the daemon and its Rust client on one machine, besides the contract: the default socket's path, and
//! the access checks for private files. Does not depend on gRPC.

pub mod private_file;
#[cfg(unix)]
mod secret_mount;
pub mod socket;
