//! The Rust client of Cardbroker: finds readers, runs APDUs on their cards as units, watches readers and waiting
//! requests, and shows operators the broker from inside.
//!
#![doc = include_str!("README.md")]

mod auto;
mod body;
mod broker;
mod command;
mod connect;
pub mod diagnostics;
mod door;
mod endpoint;
mod error;
mod failure;
pub mod hex;
mod incoming;
mod local;
mod pin_pad;
mod query;
mod quiet;
mod reader_name;
mod reopening;
mod repeat;
mod response;
mod route;
mod session;
pub mod status_word;
mod tcp;
mod tls;
mod token;
mod transmit;
mod turn;
mod watch;
mod watch_turn;

pub use broker::{Broker, BrokerLimits, Caller};
pub use cardbroker_local::{
    discovery::{Finding, Owner},
    endpoint_file::EndpointFileError,
    trust::Distrust,
};
pub use cardbroker_proto::v1::{
    CardProtocol, CardRequirement, CardReset, Delivery, Disposition, ErrorReason, FieldViolation, PinEncoding,
    PinPadOperation, Reader, ReaderState, RevocationCause, StatusWordSource, StopRule,
};
pub use cardbroker_proto::{
    ENDPOINT_VARIABLE, GROUP_METADATA, GROUP_VARIABLE, MAX_COMMANDS, TOKEN_FILE_VARIABLE, bytes::ApduBytes,
};
pub use command::{Command, MAX_APDU_BYTES, MAX_RAW_BYTES, MIN_APDU_BYTES};
pub use connect::{Client, ConnectOptions};
pub use door::Door;
pub use endpoint::{Endpoint, EndpointError};
pub use error::{Error, Tried};
pub use failure::Failure;
pub use pin_pad::PinPad;
pub use reader_name::ReaderName;
pub use response::{CommandResult, ResultKind, Stop, Transmitted};
pub use session::{OpenSession, Session, SessionEvent, SessionEvents, SessionReset, SessionTransmit};
pub use token::TokenFileError;
pub use tonic::Code;
pub use transmit::Transmit;
pub use watch::{Watch, WatchEvent};
pub use watch_turn::{TurnHolder, WaitingTurn, WatchTurn};

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct ReadMe;
