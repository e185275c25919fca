//! Who asks: isolation groups, and the tokens of callers over TCP with the file that keeps them.

pub mod group;
pub mod token_file;
pub mod tokens;
