//! Which events a trace shows: what its client has asked for, and what the policy permits.

use super::{Event, Origin, TraceKind};
use crate::{
    caller::Identity,
    policy::{Policy, ReaderNames, rule::Operation},
};

/// How much a trace shows of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TraceLevel {
    /// Headers, status words and durations.
    #[default]
    Headers,
    /// Also the data of commands that are known to be harmless.
    Data,
}

impl TraceLevel {
    /// The operations that the policy must allow at a reader.
    pub fn needs(self) -> &'static [Operation] {
        match self {
            Self::Headers => &[Operation::See, Operation::Trace],
            Self::Data => &[Operation::See, Operation::Trace, Operation::TraceData],
        }
    }

    /// Whether the policy allows `who` to trace the reader at this level.
    pub fn is_allowed(self, policy: &Policy, who: &Identity, reader: &ReaderNames) -> bool {
        self.needs().iter().all(|operation| policy.decide(who, reader, *operation).allowed)
    }
}

/// Describes callers: everything that is given must fit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallerFilter {
    /// The principal, as people see it: `user 1000`, `user S-1-5-18`.
    pub principal: Option<String>,
    /// The id of the process, as for people.
    pub pid: Option<u32>,
    /// The number of the connection.
    pub connection: Option<u64>,
}

impl CallerFilter {
    fn fits(&self, origin: &Origin) -> bool {
        let caller = &origin.caller;
        self.connection.is_none_or(|number| number == caller.connection)
            && self.pid.is_none_or(|pid| Some(pid) == caller.pid)
            && self.principal.as_ref().is_none_or(|name| *name == caller.principal().to_string())
    }
}

/// The events that a client has asked for. An empty list asks for all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TraceFilter {
    /// The ids of the readers that are traced.
    pub readers: Vec<String>,
    /// Descriptions of callers, of which one must fit.
    pub callers: Vec<CallerFilter>,
    /// The kinds of events that are shown.
    pub kinds: Vec<TraceKind>,
}

impl TraceFilter {
    /// Whether the trace is about the reader with this id.
    pub fn concerns(&self, reader: &str) -> bool {
        self.readers.is_empty() || self.readers.iter().any(|id| id == reader)
    }

    /// Whether the trace shows an event of the reader with this id.
    pub fn shows(&self, reader: &str, event: &Event) -> bool {
        let Some(kind) = event.trace_kind() else { return false };
        let fits = |filter: &CallerFilter| event.origin.as_ref().is_some_and(|origin| filter.fits(origin));
        self.concerns(reader)
            && (self.kinds.is_empty() || self.kinds.contains(&kind))
            && (self.callers.is_empty() || self.callers.iter().any(fits))
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Instant};

    use super::*;
    use crate::{
        caller::Caller,
        journal::EventKind,
        user::{Account, example_account},
    };

    fn event(kind: EventKind, caller: Option<Caller>) -> Event {
        let origin = caller.map(|caller| Arc::new(Origin { caller, group: None, traceparent: None }));
        Event { at: Instant::now(), origin, lease: None, kind }
    }

    #[test]
    fn a_filter_selects_by_reader_caller_and_kind() {
        let caller = || Some(Caller::local(3, Account::unix(1000, 7), Some(42), Some(1)));
        let denied = || EventKind::Denied { operation: Operation::Transmit, rule: "desk".into() };
        let all = TraceFilter::default();
        assert!(all.shows("a", &event(EventKind::Removed, None)) && all.shows("a", &event(denied(), caller())));
        let not_served = EventKind::NotServed { reason: None };
        let released = EventKind::Released { by: event(denied(), caller()).origin.unwrap(), reason: "".into() };
        assert!(all.shows("a", &event(not_served, caller())) && !all.shows("a", &event(released, caller())));
        let one = TraceFilter { readers: vec!["a".into()], ..TraceFilter::default() };
        assert!(one.shows("a", &event(EventKind::Removed, None)) && !one.shows("b", &event(EventKind::Removed, None)));
        let denials = TraceFilter { kinds: vec![TraceKind::Denial], ..TraceFilter::default() };
        assert!(denials.shows("a", &event(denied(), None)) && !denials.shows("a", &event(EventKind::Removed, None)));
        let named = CallerFilter { principal: Some("user 1000".into()), ..CallerFilter::default() };
        for (filter, expected) in [
            (CallerFilter::default(), true),
            (named.clone(), true),
            (CallerFilter { pid: Some(42), connection: Some(3), ..named.clone() }, true),
            (CallerFilter { pid: Some(43), ..named.clone() }, false),
            (CallerFilter { connection: Some(4), ..named }, false),
            (CallerFilter { principal: Some("user 100".into()), ..CallerFilter::default() }, false),
        ] {
            let filter = TraceFilter { callers: vec![filter], ..TraceFilter::default() };
            assert_eq!(filter.shows("a", &event(denied(), caller())), expected, "{filter:?}");
            assert!(!filter.shows("a", &event(EventKind::Removed, None)), "it has no caller");
        }
        let of_windows = || Some(Caller::local(3, example_account(7), Some(42), Some(1)));
        for (principal, expected) in
            [("user S-1-5-21-7-7-7-7", true), ("user 7", false), ("user S-1-5-21-7-7-7-9", false)]
        {
            let caller = CallerFilter { principal: Some(principal.into()), ..CallerFilter::default() };
            let filter = TraceFilter { callers: vec![caller], ..TraceFilter::default() };
            assert_eq!(filter.shows("a", &event(denied(), of_windows())), expected, "{principal}");
        }
    }
}
