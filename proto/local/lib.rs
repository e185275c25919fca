//! Conventions of the daemon and its Rust client on one machine, besides the contract: the default sockets and
//! files, the trust in the folders on the way to the sockets, the file of a port that the daemon chose, and the access
//! checks for private files. Does not depend on gRPC.

pub mod config_folder;
pub mod discovery;
pub mod endpoint_file;
pub mod endpoint_place;
pub mod open;
pub mod private_file;
#[cfg(unix)]
mod secret_mount;
pub mod socket;
pub mod system_version;
pub mod trust;
pub mod words;
