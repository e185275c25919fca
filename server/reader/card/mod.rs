//! The part of a reader that runs on the card thread.

pub(super) mod thread;
