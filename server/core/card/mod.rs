//! Everything pure that sees the bytes of an APDU.

pub(crate) mod pin_guard;
pub(crate) mod selection;
pub mod unit;
pub(crate) mod view;
