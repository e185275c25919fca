//! Units that run at most once: what a `request_id` has started, and what came of it.

pub(crate) mod executions;
