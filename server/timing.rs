//! Time stamps on a command's way through the broker, as events for the benchmarks: a comparison each while nobody listens.

/// The target of the events; each has a field `point`, which is a [`Point`] as a number.
pub const TARGET: &str = "cardbroker::timing";

/// Where on its way a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The request is decoded.
    Decoded = 0,
    /// A command goes to the card.
    ToCard = 1,
    /// The card has answered.
    FromCard = 2,
    /// The response is ready to be encoded.
    Answered = 3,
}

/// Marks that a command is at `point` now.
pub(crate) fn stamp(point: Point) {
    tracing::trace!(target: TARGET, point = point as u64);
}
