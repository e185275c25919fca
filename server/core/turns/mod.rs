//! Turns at a reader: the queue, the lease of its holder, the terms of waiting, and the reset between two turns.

pub mod isolation;
pub mod lease;
pub mod queue;
pub mod turn;
pub mod waiting;
