//! The part of a reader that runs on the card thread.

mod run;
pub(super) mod thread;
