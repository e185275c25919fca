//! The local transport on Windows: a named pipe, whose client the system names. `listen` knows these items as `os`, and
//! lists them. Parts that Windows lacks are types without a value.

mod accept;
mod auto_port;
mod default_socket;
mod door;
mod inherited;
mod local;
mod pipe;
mod stream;
mod take;
#[cfg(test)]
mod tests;

pub(crate) use self::stream::Stream;
pub(super) use self::{
    accept::Listener,
    auto_port::{AutoPort, EndpointGuard, EndpointPlace},
    default_socket::check,
    door::DoorSocket,
    local::{LocalSocket, SocketGuard},
};
pub use self::{
    default_socket::system_broker,
    door::{DoorBudgets, DoorListener, DoorListeners, PrivateListeners, PrivateSocket},
    inherited::Inherited,
};
