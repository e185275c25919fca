//! The spans of units, sessions and resets, and the one log line of each at its end.
//!
//! ```text
//! connection ─┬─ unit ── reset, exchange, exchange …
//!             └─ session ─┬─ unit ── exchange …
//!                         └─ unit …
//! reset                                               without a unit
//! ```
//!
//! The gRPC edge opens the span when it has decoded the request, so that everything done for the request belongs to the
//! span. The owner of the unit or session records its end. Units, sessions and resets are spans at `debug`, exchanges
//! at `trace`; at `info` nothing is recorded or formatted. No field contains a byte of an APDU or of a key, or a name
//! that a client has chosen.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use cardbroker_core::{journal::TurnEnd, slot::ResetKind};
use tracing::{
    Level, Span, debug, debug_span, enabled,
    field::{Empty, display},
    trace_span,
};

use crate::{
    policy::access::Access,
    trace::{microseconds, milliseconds},
};

/// The log target of units: their spans, exchanges and lines.
pub const UNIT: &str = "cardbroker::unit";

/// The log target of sessions: their spans and lines.
pub const SESSION: &str = "cardbroker::session";

/// The log target of resets: their spans and lines.
pub const RESET: &str = "cardbroker::reset";

/// Opens the span of a unit that was just decoded, inside `parent`. The unit fills in the fields once it is admitted.
pub fn unit(parent: &Span) -> Span {
    debug_span!(
        target: UNIT, parent: parent, "unit",
        reader = Empty, caller = Empty, traceparent = Empty, commands = Empty, waited_ms = Empty, card_ms = Empty,
        outcome = Empty,
    )
}

/// Opens the span of a session whose stream has begun, inside `parent`, as [`unit()`] does.
pub fn session(parent: &Span) -> Span {
    debug_span!(
        target: SESSION, parent: parent, "session",
        reader = Empty, caller = Empty, traceparent = Empty, waited_ms = Empty, held_ms = Empty, units = Empty,
        outcome = Empty,
    )
}

/// The record of one unit. Its ticket owns it and ends it.
pub(super) struct UnitSpan {
    /// The span of the request; disabled at `info`.
    span: Span,
}

impl UnitSpan {
    /// Creates the record of a unit that is admitted now, in the current span.
    pub(super) fn new(access: &Access, commands: usize) -> Self {
        let span = Span::current();
        span.record("reader", access.reader_id());
        span.record("caller", display(access.caller()));
        span.record("traceparent", access.origin().traceparent.as_deref());
        span.record("commands", commands);
        Self { span }
    }

    /// The span that the unit belongs to.
    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// Opens the span of one exchange with the card. `completes` says whether it completes the answer of a command that
    /// was sent before. The time of the exchange and its outcome are recorded by [`exchanged`].
    pub(super) fn exchange(&self, completes: bool) -> Span {
        trace_span!(target: UNIT, parent: &self.span, "exchange", completes, took_us = Empty, answered = Empty)
    }

    /// Writes the unit's line. `times` are the waiting time and the time on the card; without them the unit had no
    /// turn, and has waited since `arrived`.
    pub(super) fn end(
        &self,
        access: &Access,
        commands: usize,
        arrived: Instant,
        times: Option<(Duration, Duration)>,
        outcome: TurnEnd,
    ) {
        if self.span.is_disabled() && !enabled!(target: UNIT, Level::DEBUG) {
            return;
        }
        let waited_ms = milliseconds(times.map_or_else(|| arrived.elapsed(), |(waited, _)| waited));
        let card_ms = times.map(|(_, card)| milliseconds(card));
        self.span.record("waited_ms", waited_ms);
        self.span.record("card_ms", card_ms);
        self.span.record("outcome", display(outcome));
        let (reader, caller) = (access.reader_id(), access.caller());
        debug!(
            target: UNIT, parent: None,
            %reader, %caller, commands, waited_ms, card_ms, %outcome,
            "unit done"
        );
    }
}

/// Records in the span of an exchange or a reset how long the card took, and whether it answered.
pub(super) fn exchanged(exchange: &Span, took: Duration, answered: bool) {
    exchange.record("took_us", microseconds(took));
    exchange.record("answered", answered);
}

/// Runs a reset of the card in its span, inside `parent`, and writes its line. Returns its result and duration.
pub(super) fn reset<T, E>(
    parent: &Span,
    reader: &str,
    kind: ResetKind,
    reset: impl FnOnce() -> Result<T, E>,
) -> (Result<T, E>, Duration) {
    let span = debug_span!(
        target: RESET, parent: parent, "reset",
        reader, %kind, took_us = Empty, answered = Empty,
    );
    let began = Instant::now();
    let done = span.in_scope(reset);
    let took = began.elapsed();
    exchanged(&span, took, done.is_ok());
    debug!(
        target: RESET, parent: None,
        %reader, %kind, took_us = microseconds(took), answered = done.is_ok(),
        "reset done"
    );
    (done, took)
}

/// The record of one session: owned by its request, and then by its turn. Dropping it before [`SessionSpan::end`]
/// records that the caller has disconnected.
pub(super) struct SessionSpan {
    /// The span of the conversation; disabled at `info`.
    span: Span,
    /// The caller and the reader.
    access: Access,
    /// When the reader's handle received the request.
    arrived: Instant,
    /// The beginning of the turn; `None` without one.
    began: Option<Instant>,
    /// The number of units that the session has requested. The holder counts.
    units: Arc<AtomicU32>,
    ended: bool,
}

impl SessionSpan {
    /// Creates the record of a session that is admitted now, in the current span. The holder counts its units in
    /// `units`.
    pub(super) fn new(access: Access, arrived: Instant, units: Arc<AtomicU32>) -> Self {
        let span = Span::current();
        span.record("reader", access.reader_id());
        span.record("caller", display(access.caller()));
        span.record("traceparent", access.origin().traceparent.as_deref());
        Self { span, access, arrived, began: None, units, ended: false }
    }

    /// The session's turn has come.
    pub(super) fn begin(&mut self, now: Instant) {
        self.began = Some(now);
    }

    /// Writes the session's line. No effect the second time.
    pub(super) fn end(&mut self, outcome: TurnEnd) {
        let was_ended = std::mem::replace(&mut self.ended, true);
        if was_ended || (self.span.is_disabled() && !enabled!(target: SESSION, Level::DEBUG)) {
            return;
        }
        let waited =
            self.began.map_or_else(|| self.arrived.elapsed(), |began| began.saturating_duration_since(self.arrived));
        let waited_ms = milliseconds(waited);
        let held_ms = self.began.map(|began| milliseconds(began.elapsed()));
        let units = self.units.load(Ordering::Relaxed);
        self.span.record("waited_ms", waited_ms);
        self.span.record("held_ms", held_ms);
        self.span.record("units", units);
        self.span.record("outcome", display(outcome));
        let (reader, caller) = (self.access.reader_id(), self.access.caller());
        debug!(
            target: SESSION, parent: None,
            %reader, %caller, waited_ms, held_ms, units, %outcome,
            "session done"
        );
    }
}

impl Drop for SessionSpan {
    fn drop(&mut self) {
        self.end(TurnEnd::Abandoned);
    }
}

#[cfg(test)]
mod tests {
    use cardbroker_core::error::{Failure, Reason};
    use tracing_subscriber::{filter::LevelFilter, layer::SubscriberExt, registry};

    use super::*;

    /// Whether units, sessions and exchanges are recorded.
    fn recorded(level: LevelFilter) -> [bool; 3] {
        tracing::subscriber::with_default(registry().with(level), || {
            let access = crate::policy::access::unlimited(cardbroker_core::caller::CallerKey::Connection(1));
            let spans = [unit(&Span::none()), session(&Span::none()), UnitSpan::new(&access, 1).exchange(false)];
            spans.map(|span| !span.is_disabled())
        })
    }

    #[test]
    fn nothing_is_recorded_at_info() {
        assert_eq!(recorded(LevelFilter::INFO), [false, false, false]);
        assert_eq!(recorded(LevelFilter::DEBUG), [true, true, false]);
        assert_eq!(recorded(LevelFilter::TRACE), [true, true, true]);
    }

    #[test]
    fn an_end_is_spelled_like_in_the_contract() {
        let stop = Failure::not_sent(Reason::CardRemoved, "gone");
        let ends = [TurnEnd::of(None), TurnEnd::Abandoned, TurnEnd::of(Some(&stop))];
        assert_eq!(ends.map(|end| end.to_string()), ["ok", "abandoned", "CARD_REMOVED"]);
    }
}
