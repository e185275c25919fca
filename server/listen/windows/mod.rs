//! Windows' part of the listeners: a named pipe in place of the Unix socket, and stubs for parts that Windows lacks.
//!
//! | part | in place of |
//! | --- | --- |
//! | `pipe` | the Unix socket, with its lock against a second broker |
//! | `accept` | the accept loop, with the identity of the client |
//! | `default_socket` | the check of the default path |
//! | `local` | a socket of the broker and its watch; a pipe cannot be removed |
//! | `inherited` | sockets of a service manager: there are none |
//! | `auto_port` | the endpoint file of `--tcp auto`: refused so far |
//! | `private_socket` | private doors: refused, because PC/SC programs here have another library |

mod accept;
pub(super) mod auto_port;
pub(super) mod default_socket;
pub(super) mod inherited;
pub(super) mod local;
mod pipe;
pub(super) mod private_socket;
#[cfg(test)]
mod tests;

pub(super) use self::accept::Listener;
pub use self::pipe::BoundSocket;
pub(crate) use self::pipe::Stream;
