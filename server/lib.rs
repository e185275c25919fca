//! The daemon that owns a machine's smart-card readers and serves them over gRPC.

pub mod backend;
pub mod broker;
pub mod caller;
pub mod config;
pub mod grpc;
pub mod listen;
mod outcomes;
pub mod policy;
pub mod process;
pub mod reader;
pub mod registry;
pub mod server;
