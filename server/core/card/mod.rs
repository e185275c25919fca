//! Everything pure that sees the bytes of an APDU.

pub mod gate;
pub mod pin_guard;
pub mod selection;
pub mod unit;
pub mod view;
