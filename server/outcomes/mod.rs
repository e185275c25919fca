//! Units that run at most once: the unit of each `request_id`, and its outcome.

pub(crate) mod executions;
mod fingerprint;
mod under_way;
