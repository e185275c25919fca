//! The card thread's side of a reader.

pub(super) mod thread;
