//! The parts of the repository's checks that stories use too.

pub mod markdown;
