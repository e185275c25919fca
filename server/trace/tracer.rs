//! One running trace: the events that wait for its client.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use cardbroker_core::{
    caller::Principal,
    journal::{Batch, Event, Feed, Journal, Origin, TraceFilter, TraceLevel},
    policy::{Policy, ReaderNames},
};
use tokio::sync::Notify;

use super::{RunningTracer, TraceHub, TraceItem, TraceRequest};

/// The bytes of events that go into one message, about.
const MESSAGE_BYTES: usize = 64 << 10;

/// The bytes that an event takes beside its own, about: the shared pointer, the names of the reader, and its place in
/// the queue.
const OVERHEAD: usize = 64;

/// A trace as the hub sees it. The hub and the [`Tracer`] share it.
#[derive(Debug)]
pub(super) struct Tracing {
    pub(super) filter: TraceFilter,
    pub(super) level: TraceLevel,
    origin: Arc<Origin>,
    began: Instant,
    /// Locked for short moments only.
    waiting: Mutex<Waiting>,
    /// Notified when something is pushed.
    pushed: Notify,
}

/// The events that wait for the client.
#[derive(Debug)]
struct Waiting {
    feed: Feed<Arc<TraceItem>>,
    /// The number of the first live event of each reader, with or without room for it; `None` after the events from the
    /// recorder, which end before it.
    first_live: Option<HashMap<String, u64>>,
}

/// A running trace. Dropping it ends the trace.
pub struct Tracer {
    hub: TraceHub,
    tracing: Arc<Tracing>,
}

impl Tracing {
    pub(super) fn new(origin: Arc<Origin>, request: TraceRequest, now: Instant, room: usize) -> Self {
        let TraceRequest { filter, level, recorded } = request;
        let waiting = Waiting { feed: Feed::new(room), first_live: (recorded > 0).then(HashMap::new) };
        Self { filter, level, origin, began: now, waiting: Mutex::new(waiting), pushed: Notify::new() }
    }

    /// Whether the policy lets the operator trace the reader.
    pub(super) fn is_allowed(&self, policy: &Policy, reader: &ReaderNames) -> bool {
        self.level.is_allowed(policy, &self.origin.caller.identity, reader)
    }

    /// Whether the operator wants the event and may see it.
    pub(super) fn sees(&self, policy: &Policy, reader: &ReaderNames, event: &Event) -> bool {
        self.filter.shows(&reader.id, event) && self.is_allowed(policy, reader)
    }

    /// Adds an event, or counts it as missed.
    pub(super) fn push(&self, item: &Arc<TraceItem>) {
        let mut waiting = self.lock();
        if let Some(first_live) = &mut waiting.first_live
            && !first_live.contains_key(&item.reader.id)
        {
            first_live.insert(item.reader.id.clone(), item.number);
        }
        waiting.feed.push(Arc::clone(item), item.event.weight() + OVERHEAD);
        drop(waiting);
        self.pushed.notify_one();
    }

    /// The user of the trace.
    pub(super) fn principal(&self) -> Principal {
        self.origin.caller.principal()
    }

    pub(super) fn running(&self) -> RunningTracer {
        RunningTracer { origin: Arc::clone(&self.origin), level: self.level, began: self.began }
    }

    /// Ignores poisoning: every change is a single call.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tracer {
    pub(super) fn new(hub: TraceHub, tracing: Arc<Tracing>) -> Self {
        Self { hub, tracing }
    }

    /// How much of commands the trace shows.
    pub fn level(&self) -> TraceLevel {
        self.tracing.level
    }

    /// Whether the trace is about this reader, and the policy of this moment lets the operator trace it.
    pub fn concerns(&self, reader: &ReaderNames) -> bool {
        self.tracing.filter.concerns(&reader.id) && self.tracing.is_allowed(&self.hub.policy(), reader)
    }

    /// Returns the last events from the recorder of `reader`, at most `most`: those that the operator wants and may
    /// see, that happened under the rules in force, and before the live events. Call it while no event is recorded
    /// into `journal`.
    pub fn recorded(
        &self,
        reader: &Arc<ReaderNames>,
        journal: &Journal,
        most: usize,
        now: Instant,
    ) -> Vec<Arc<TraceItem>> {
        let policy = self.hub.policy();
        let waiting = self.tracing.lock();
        let first_live = waiting.first_live.as_ref().and_then(|first| first.get(&reader.id)).copied();
        drop(waiting);
        let events = journal.recorder().events(policy.since(), now).rev().filter(|recorded| {
            first_live.is_none_or(|first| recorded.number < first)
                && self.tracing.sees(&policy, reader, &recorded.event)
        });
        let mut items: Vec<_> = events
            .take(most)
            .map(|recorded| {
                let (reader, event) = (Arc::clone(reader), recorded.event.clone());
                Arc::new(TraceItem { reader, number: recorded.number, is_recorded: true, event })
            })
            .collect();
        items.reverse();
        items
    }

    /// Records that no more events from recorders are taken.
    pub fn end_of_recorded(&self) {
        self.tracing.lock().first_live = None;
    }

    /// Returns the next events, of which the operator may still see the readers. Cancel-safe.
    pub async fn next(&self) -> Batch<Arc<TraceItem>> {
        loop {
            if let Some(batch) = self.take() {
                return batch;
            }
            self.tracing.pushed.notified().await;
        }
    }

    fn take(&self) -> Option<Batch<Arc<TraceItem>>> {
        loop {
            let mut batch = self.tracing.lock().feed.take(MESSAGE_BYTES)?;
            let policy = self.hub.policy();
            // Events in a row are mostly of one reader.
            let mut last: Option<(Arc<ReaderNames>, bool)> = None;
            batch.items.retain(|item| match &last {
                Some((reader, is_allowed)) if Arc::ptr_eq(reader, &item.reader) => *is_allowed,
                _ => {
                    let is_allowed = self.tracing.is_allowed(&policy, &item.reader);
                    last = Some((Arc::clone(&item.reader), is_allowed));
                    is_allowed
                }
            });
            if batch.missed > 0 || !batch.items.is_empty() {
                return Some(batch);
            }
        }
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.hub.end(&self.tracing);
    }
}
