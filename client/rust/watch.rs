//! Watching the readers: a stream that reconnects after a loss of the connection and reports the changes meanwhile.
//!
//! ```text
//! Pausing ── pause over ──▶ Opening ── headers ──▶ Open ─┐ messages
//!    ▲                         │                   │  ▲  │
//!    └──── failed, too late ───┴── ended, silent ──┘  └──┘
//! ```

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use cardbroker_proto::v1::{
    ReadersChange, ReadersSnapshot, WatchReadersRequest, WatchReadersResponse, watch_readers_response::Event,
};
use tokio::time::{Sleep, sleep};
use tokio_stream::Stream;
use tonic::{Status, Streaming};

use crate::{Client, Error, Reader, incoming::Incoming, query::Stub, reopening::Opening};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// One event, as returned by [`Watch::next`].
#[derive(Debug)]
pub enum WatchEvent {
    /// The broker has sent the state of its readers, for the first time or again; the differences follow.
    Connected,
    /// The connection was lost, or there was no broker for [`connect_timeout`](crate::ConnectOptions::connect_timeout).
    /// The watch keeps trying, although an error that [is permanent](Error::is_permanent) will probably persist.
    /// [`Watch::readers`] keeps the last known state.
    Disconnected(Error),
    /// A reader is new or has changed; this is its latest state.
    Updated(Reader),
    /// A reader is gone; this was its last state.
    Removed(Reader),
}

/// Watches all readers; made by [`Client::watch`]. Also a [`Stream`] of its events, which never ends.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    phase: Phase,
    pause: Duration,
    resume_token: String,
    /// `None` before the first attempt has ended.
    connected: Option<bool>,
    readers: BTreeMap<String, Reader>,
    /// The events of one message that `next` has not returned yet: at most one entry for each reader, old or new, and
    /// one more.
    pending: VecDeque<WatchEvent>,
}

enum Phase {
    /// Boxed late: a timer can be made within a runtime only.
    Pausing {
        pause: Duration,
        timer: Option<Pin<Box<Sleep>>>,
    },
    Opening(Opening<WatchReadersResponse>),
    Open(Incoming<Box<Streaming<WatchReadersResponse>>>),
}

impl fmt::Debug for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Pausing { .. } => "Pausing",
            Self::Opening(_) => "Opening",
            Self::Open(_) => "Open",
        })
    }
}

impl Watch {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            phase: Phase::Pausing { pause: Duration::ZERO, timer: None },
            pause: FIRST_PAUSE,
            resume_token: String::new(),
            connected: None,
            readers: BTreeMap::new(),
            pending: VecDeque::new(),
        }
    }

    /// The readers by name, as last reported by the broker; empty before the first [`WatchEvent::Connected`].
    pub fn readers(&self) -> &BTreeMap<String, Reader> {
        &self.readers
    }

    /// Whether [`Watch::readers`] is up to date, as far as this program knows.
    pub fn is_connected(&self) -> bool {
        self.connected == Some(true)
    }

    /// Returns the next event. Waits without limit; cancel-safe: a dropped call loses nothing.
    ///
    /// Heartbeats are no events. 90 s of silence count as a lost connection. Attempts to connect are 0.1 s apart during
    /// [`connect_timeout`](crate::ConnectOptions::connect_timeout); pauses of up to 5 s follow.
    pub async fn next(&mut self) -> WatchEvent {
        poll_fn(|context| self.poll_event(context)).await
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<WatchEvent> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Poll::Ready(event);
            }
            match &mut self.phase {
                Phase::Pausing { pause, timer } => {
                    let timer = timer.get_or_insert_with(|| Box::pin(sleep(*pause)));
                    ready!(timer.as_mut().poll(context));
                    self.phase = Phase::Opening(self.open());
                }
                Phase::Opening(opening) => match ready!(opening.as_mut().poll(context)) {
                    Ok(stream) => self.phase = Phase::Open(Incoming::of(Box::new(stream))),
                    Err(error) => self.lost(error),
                },
                Phase::Open(messages) => match ready!(messages.poll_message(context)) {
                    Ok(Some(message)) => self.take(message),
                    Ok(None) => self.ended(&Status::unavailable("the broker ended the watch")),
                    Err(status) => self.ended(&status),
                },
            }
        }
    }

    fn open(&self) -> Opening<WatchReadersResponse> {
        let request = WatchReadersRequest { resume_token: self.resume_token.clone() };
        let client = self.client.clone();
        Box::pin(async move {
            let call = |mut stub: Stub, request| async move { stub.watch_readers(request).await };
            client.ask(request, call).await
        })
    }

    fn ended(&mut self, status: &Status) {
        self.lost(Error::of_query(self.client.endpoint(), status));
    }

    fn lost(&mut self, error: Error) {
        // Half fixed, half random, so that many watchers do not come back at the same moment.
        self.phase = Phase::Pausing { pause: self.pause.mul_f64(0.5 + fastrand::f64() / 2.0), timer: None };
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        if self.connected.replace(false) != Some(false) {
            self.pending.push_back(WatchEvent::Disconnected(error));
        }
    }

    fn take(&mut self, message: WatchReadersResponse) {
        self.pause = FIRST_PAUSE;
        self.resume_token = message.resume_token;
        if self.connected.replace(true) != Some(true) {
            self.pending.push_back(WatchEvent::Connected);
        }
        match message.event {
            Some(Event::Snapshot(snapshot)) => self.pending.extend(apply_snapshot(&mut self.readers, snapshot)),
            Some(Event::Change(change)) => self.pending.extend(apply_change(&mut self.readers, change)),
            Some(Event::Heartbeat(_)) | None => {}
        }
    }
}

impl Stream for Watch {
    type Item = WatchEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        self.poll_event(context).map(Some)
    }
}

fn apply_snapshot(readers: &mut BTreeMap<String, Reader>, snapshot: ReadersSnapshot) -> Vec<WatchEvent> {
    let is_gone = |name: &&String| snapshot.readers.iter().all(|reader| reader.name != **name);
    let removed_names = readers.keys().filter(is_gone).cloned().collect();
    apply_change(readers, ReadersChange { updated: snapshot.readers, removed_names })
}

/// Reports differences only: after a loss of the connection a snapshot repeats known states.
fn apply_change(readers: &mut BTreeMap<String, Reader>, change: ReadersChange) -> Vec<WatchEvent> {
    let mut events = Vec::new();
    events.extend(change.removed_names.iter().filter_map(|name| readers.remove(name)).map(WatchEvent::Removed));
    for reader in change.updated {
        if readers.insert(reader.name.clone(), reader.clone()).as_ref() != Some(&reader) {
            events.push(WatchEvent::Updated(reader));
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(name: &str, insertion_id: &str) -> Reader {
        Reader { name: name.to_owned(), insertion_id: insertion_id.to_owned(), ..Reader::default() }
    }

    fn told(events: Vec<WatchEvent>) -> Vec<String> {
        let tell = |event| match event {
            WatchEvent::Updated(reader) => format!("+{} {}", reader.name, reader.insertion_id),
            WatchEvent::Removed(reader) => format!("-{}", reader.name),
            other => format!("{other:?}"),
        };
        events.into_iter().map(tell).collect()
    }

    #[test]
    fn a_second_snapshot_reports_only_differences() {
        let mut readers = BTreeMap::new();
        let first = ReadersSnapshot { readers: vec![reader("a", "1"), reader("b", "1"), reader("c", "1")] };
        assert_eq!(told(apply_snapshot(&mut readers, first)), ["+a 1", "+b 1", "+c 1"]);
        let second = ReadersSnapshot { readers: vec![reader("a", "1"), reader("c", "2"), reader("d", "1")] };
        assert_eq!(told(apply_snapshot(&mut readers, second)), ["-b", "+c 2", "+d 1"]);
        assert_eq!(readers.keys().collect::<Vec<_>>(), ["a", "c", "d"]);
    }

    #[test]
    fn a_change_touches_only_the_readers_it_names() {
        let mut readers = BTreeMap::from([("a".to_owned(), reader("a", "1")), ("b".to_owned(), reader("b", "1"))]);
        let change = ReadersChange { updated: vec![reader("b", "2")], removed_names: vec!["a".into(), "x".into()] };
        assert_eq!(told(apply_change(&mut readers, change)), ["-a", "+b 2"]);
    }
}
