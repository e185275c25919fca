//! What the daemon and its Rust client agree on about one machine, beside the contract: the default socket's path, and
//! the access that protects private files. Knows nothing of gRPC.

pub mod private_file;
pub mod socket;
