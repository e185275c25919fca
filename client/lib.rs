//! The Rust client of Cardbroker: find readers, run APDUs on their cards as units, follow what happens to them.
//!
#![doc = include_str!("README.md")]

mod command;
mod connect;
mod endpoint;
mod error;
pub mod hex;
mod repeat;
mod response;
mod session;
pub mod status_word;
mod token;
mod transmit;
mod watch;

pub use cardbroker_proto::v1::{CardProtocol, Delivery, ErrorReason, Reader, ReaderState, StatusWordSource};
pub use cardbroker_proto::{GROUP_METADATA, GROUP_VARIABLE, TOKEN_FILE_VARIABLE, bytes::ApduBytes};
pub use command::{Command, MAX_APDU_BYTES, MIN_APDU_BYTES};
pub use connect::{Client, ConnectOptions};
pub use endpoint::{Endpoint, EndpointError};
pub use error::{Error, Failure};
pub use response::{CommandResult, Stop, Transmitted};
pub use session::{OpenSession, Session, SessionTransmit};
pub use token::TokenFileError;
pub use transmit::Transmit;
pub use watch::{Watch, WatchEvent};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
