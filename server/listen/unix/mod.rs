//! The local transport on Unix: a socket in the file system, whose peer the kernel names. `listen` knows these items
//! as `os`, and lists them.

mod accepting;
mod auto_port;
mod bound;
mod default_socket;
mod door;
mod folder_watch;
mod inherited;
mod local;
mod lock_file;
mod path_watch;
mod peer_process;
mod private_socket;
mod socket_watch;
#[cfg(test)]
mod tests;

pub(crate) use self::bound::Stream;
pub(super) use self::{
    auto_port::{AutoPort, EndpointGuard, EndpointPlace},
    default_socket::check,
    door::DoorSocket,
    local::{LocalSocket, SocketGuard},
    socket_watch::Listener,
};
pub use self::{
    default_socket::system_broker,
    door::{DoorBudgets, DoorListener, DoorListeners},
    inherited::Inherited,
    private_socket::{PrivateListeners, PrivateSocket},
};
