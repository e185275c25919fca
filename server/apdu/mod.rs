//! APDUs: command structure, class byte, status words (ISO 7816-4 §5). Pure: bytes in, facts out.

mod bytes;

pub use bytes::ApduBytes;
