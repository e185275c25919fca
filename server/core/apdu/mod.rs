//! APDUs: command structure, class byte, status words (ISO 7816-4 §5). Pure: bytes in, facts out.

mod class;
mod command;
mod header;
mod reader_commands;
mod secrets;
mod status;
mod tlv;

pub use cardbroker_apdu_bytes::ApduBytes;
pub use class::Class;
pub use command::{ApduError, CommandApdu, CommandParts, MAX_COMMAND_BYTES, MAX_RAW_BYTES, ParsedCommand};
pub use header::Header;
pub use reader_commands::stays_in_reader;
pub use secrets::{SecretInstructions, presents_pin};
pub use status::{StatusPattern, StatusWord, StopRule};
pub use tlv::data_objects;

#[cfg(test)]
mod tests;
