//! Named pipes and accounts of Windows, as far as std and tokio have no safe functions for them: a pipe with an access
//! list, the user at the other end, the owner of a pipe, and names of users and groups. Empty on other systems.
//!
//! | module | concern |
//! | --- | --- |
//! | `sid` | the identifiers of users and groups (SIDs) |
//! | `account` | the names of users and groups |
//! | `token` | the user and the groups of this process or of a client |
//! | `server` | instances of a pipe with an access list, and the client who has opened one |
//! | `client` | the connection to a pipe, and the owner of it |
//!
//! The crate holds all unsafe code for Windows. Each unsafe block calls one function of the system, and its comment
//! says why the call is sound. Handles and memory of the system have an owner that frees them.

#[cfg(windows)]
mod account;
#[cfg(windows)]
mod client;
#[cfg(windows)]
mod memory;
#[cfg(windows)]
mod server;
#[cfg(windows)]
mod sid;
#[cfg(test)]
#[cfg(windows)]
mod tests;
#[cfg(windows)]
mod token;

#[cfg(windows)]
pub use self::{
    account::{AccountKind, account_named, account_with},
    client::{connect, owner_of_file, owner_of_pipe},
    server::{Access, client_identity, client_process},
    sid::{ADMINISTRATORS, LOCAL_SERVICE, NETWORK_SERVICE, SYSTEM, Sid},
    token::{Identity, own_identity, own_user},
};
