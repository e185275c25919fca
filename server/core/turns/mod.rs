//! Whose turn it is: the queue, the lease of its holder, and the terms on which callers wait.

pub mod lease;
pub mod queue;
pub mod turn;
pub mod waiting;
