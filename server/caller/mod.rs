//! Callers: isolation groups, and the tokens of callers over TCP with their file.

pub mod group;
pub mod token_file;
pub mod tokens;
