//! Callers: isolation groups, the tokens of callers over TCP with their file, and the certificate that they expect.

pub mod certificate;
pub mod group;
pub mod own_token;
pub mod token_file;
pub mod tokens;
