//! The pure part of the card's side: units, the gate, the view of the card, the selection and the PIN guard. Only
//! these modules see the bytes of APDUs.

pub mod gate;
pub mod marks;
pub mod pin_guard;
pub mod selection;
pub mod unit;
pub mod view;
