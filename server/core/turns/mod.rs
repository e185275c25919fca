//! Whose turn it is: the queue, the lease of its holder, the terms on which callers wait, and when a reset stands between
//! two turns.

pub mod isolation;
pub mod lease;
pub mod queue;
pub mod turn;
pub mod waiting;
