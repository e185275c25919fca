//! The daemon that owns a machine's smart-card readers and serves them over gRPC.

pub mod apdu;
pub mod audit;
pub mod backend;
pub mod broker;
pub mod caller;
pub mod config;
pub mod error;
mod executions;
pub mod explain;
pub mod flags;
pub mod group;
pub mod grpc;
mod keyed_hash;
pub mod listen;
pub mod outcomes;
pub mod permit;
pub mod policy;
pub mod process;
#[cfg(test)]
mod properties;
pub mod reader;
pub mod registry;
pub mod server;
pub mod signals;
pub mod telemetry;
pub mod timing;
pub mod tokens;
