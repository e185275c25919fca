//! The daemon that owns a machine's smart-card readers.
pub mod apdu;
pub mod backend;
pub mod caller;
pub mod config;
pub mod error;
pub mod flags;
pub mod listen;
pub mod telemetry;
