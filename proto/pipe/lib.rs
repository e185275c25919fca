//! Named pipes of Windows, as far as std and tokio have no safe functions for them: a pipe with an access list, the
//! user at the other end, and the owner of a pipe. Empty on other systems.
//!
//! | module | concern |
//! | --- | --- |
//! | `sid` | the names of users and groups (SIDs) |
//! | `server` | instances of a pipe with an access list, and the user who has opened one |
//! | `client` | the connection to a pipe, and the owner of it |
//!
//! The crate holds all unsafe code of pipes. Each unsafe block calls one function of the system, and its comment says
//! why the call is sound. Handles and memory of the system have an owner that frees them.

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
pub use self::{
    client::{connect, owner_of_file, owner_of_pipe},
    server::{Access, client_process, client_user},
    sid::{ADMINISTRATORS, LOCAL_SERVICE, NETWORK_SERVICE, SYSTEM, Sid, own_user},
};
