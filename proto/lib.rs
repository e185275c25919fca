//! The contract of Cardbroker: messages and service stubs generated from `cardbroker/v1/*.proto`,
//! `cardbroker/diagnostics/v1/*.proto` and `cardbroker/pcsc/v1/*.proto`, and the definitions that both sides share
//! besides it (names of reasons, codes and limits, the type for APDU bytes).

/// The type that holds APDU bytes, from a crate without gRPC.
pub use cardbroker_apdu_bytes as bytes;

mod codec;
pub mod codes;
pub mod reason;
mod redact;

/// The generated module of version 1 of a package.
macro_rules! version_1 {
    ($(#[$documentation:meta])* $package:literal) => {
        $(#[$documentation])*
        #[allow(
            missing_docs,
            unreachable_pub,
            clippy::all,
            clippy::allow_attributes_without_reason,
            reason = "generated: the contract's comments are on every message, helper functions have none"
        )]
        pub mod v1 {
            tonic::include_proto!($package);
        }
    };
}

version_1! {
    /// Version 1 of the contract: `cardbroker.v1`.
    "cardbroker.v1"
}

/// The diagnostics service, for operators.
pub mod diagnostics {
    version_1! {
        /// Version 1 of the diagnostics service: `cardbroker.diagnostics.v1`.
        "cardbroker.diagnostics.v1"
    }
}

/// The service for programs that use PC/SC.
pub mod pcsc {
    version_1! {
        /// Version 1 of the service: `cardbroker.pcsc.v1`.
        "cardbroker.pcsc.v1"
    }
}

/// The compiled contract, a serialized `google.protobuf.FileDescriptorSet`, as served by reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The environment variable with the broker's address for clients: `unix:/path` or `https://127.0.0.1:port`.
pub const ENDPOINT_VARIABLE: &str = "CARDBROKER_ENDPOINT";

/// The environment variable with the path of a client's token file, for TCP endpoints.
pub const TOKEN_FILE_VARIABLE: &str = "CARDBROKER_TOKEN_FILE";

/// The environment variable with the key of an isolation group, which a parent process sets for its children.
pub const GROUP_VARIABLE: &str = "CARDBROKER_GROUP";

/// The metadata key for the key of the client's isolation group.
pub const GROUP_METADATA: &str = "cardbroker-group";

/// The maximum size of a request, and of a response, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// The maximum number of commands in a unit.
pub const MAX_COMMANDS: usize = 64;
