//! The card thread's side of a reader: all that handles the bytes of an APDU.

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
pub(super) mod gate;
pub(super) mod thread;
