//! The daemon as a service of Windows: installs and removes it, and connects a running one to the service control
//! manager. On other systems it is the pure parts alone.
//!
//! ```text
//! service control manager ── stop, shutdown, parameter change ──► control ──► Signals ──► the server
//!            ▲                                                                               │
//!            └───── start pending, running, stop pending (checkpoints), stopped ◄── ServiceManager
//! ```

mod arguments;
#[cfg(windows)]
mod command;
#[cfg(windows)]
mod control;
#[cfg(windows)]
mod places;
mod program_path;
#[cfg(windows)]
mod registration;
mod status;

#[cfg(windows)]
pub use self::command::execute;
#[cfg(windows)]
pub(super) use self::{
    control::{Service, current},
    status::Event,
};

/// The name of the service.
#[cfg(windows)]
const NAME: &str = "cardbroker";
