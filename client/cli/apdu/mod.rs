//! Commands and answers in words: applications and bytes.

pub(crate) mod application;
pub(crate) mod dump;
