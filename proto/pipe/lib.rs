//! Named pipes, accounts, access lists and the event log of Windows, as far as std and tokio have no safe functions for
//! them. On other systems it has the judgement of access lists alone.
//!
//! | module | concern |
//! | --- | --- |
//! | `sid`, `well_known` | the identifiers of users and groups (SIDs) |
//! | `account` | the names of users and groups |
//! | `token` | the user and the groups of this process or of a client |
//! | `descriptor` | the owner and the access list of what this process creates, and of other objects |
//! | `server` | instances of a pipe with an access list, and the client who has opened one |
//! | `client` | the connection to a pipe, and the owner of it |
//! | `file` | files and folders with an access list, and the lists of others |
//! | `rights` | whether an access list gives others rights |
//! | `process` | whether another process runs |
//! | `system_folder` | the folder of the system's own programs |
//! | `event_log` | events for the administrator |
//! | `convention` | the system's texts and codes |
//!
//! The crate holds all unsafe code for Windows. Each unsafe block calls one function of the system, and its comment
//! says why the call is sound. Handles and memory of the system have an owner that frees them.

#[cfg(windows)]
mod account;
#[cfg(windows)]
mod client;
#[cfg(windows)]
mod convention;
#[cfg(windows)]
mod descriptor;
#[cfg(windows)]
mod event_log;
#[cfg(windows)]
mod file;
#[cfg(windows)]
mod memory;
#[cfg(windows)]
mod process;
mod rights;
#[cfg(windows)]
mod server;
#[cfg(windows)]
mod sid;
#[cfg(windows)]
mod system_folder;
#[cfg(test)]
#[cfg(windows)]
mod tests;
#[cfg(windows)]
mod token;
mod well_known;

#[cfg(windows)]
pub use self::{
    account::{AccountKind, account_named, account_with},
    client::{connect, is_busy, is_missing, owner_of_pipe, pipe_exists},
    event_log::{EventKind, EventSource, register_source, unregister_source},
    file::{Keeper, access_of_file, create_file, create_folder, owner_of_file},
    process::{ProcessState, process_state},
    server::{AccessList, client_identity, client_process},
    sid::Sid,
    system_folder::system_folder,
    token::{Identity, own_identity, own_user},
};
pub use self::{
    rights::{Entry, Excess, FileAccess},
    well_known::{ADMINISTRATORS, LOCAL_SERVICE, NETWORK_SERVICE, SYSTEM},
};
