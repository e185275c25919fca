//! The daemon that owns a machine's smart-card readers.
pub mod apdu;
pub mod backend;
pub mod error;
