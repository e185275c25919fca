//! The contract of Cardbroker: messages and service stubs generated from `cardbroker/v1/*.proto`, and what both sides must
//! agree on beside it (names of reasons, codes and limits, how APDU bytes are held).

/// The type that holds APDU bytes, from a crate without gRPC.
pub use cardbroker_apdu_bytes as bytes;

pub mod codes;
pub mod reason;
mod redact;

/// Version 1 of the contract.
pub mod v1 {
    // Generated code carries the contract's comments on every message; its helper functions have none.
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    tonic::include_proto!("cardbroker.v1");
}

/// The compiled contract, a serialized `google.protobuf.FileDescriptorSet`, as served by reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The environment variable that tells clients where the broker is: `unix:/path` or `http://127.0.0.1:port`.
pub const ENDPOINT_VARIABLE: &str = "CARDBROKER_ENDPOINT";

/// The environment variable that names the file with a client's token, for `http://` endpoints.
pub const TOKEN_FILE_VARIABLE: &str = "CARDBROKER_TOKEN_FILE";

/// The environment variable that holds the key of an isolation group, for a parent to hand to its children.
pub const GROUP_VARIABLE: &str = "CARDBROKER_GROUP";

/// The metadata in which a client sends the key of its isolation group.
pub const GROUP_METADATA: &str = "cardbroker-group";

/// The largest request and the largest response, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// The most commands that one unit holds.
pub const MAX_COMMANDS: usize = 64;
