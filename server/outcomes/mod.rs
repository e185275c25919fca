//! Units that run at most once: which unit a `request_id` has started, and its outcome.

pub(crate) mod executions;
mod fingerprint;
mod under_way;
