//! Watching the readers.

use std::{mem::MaybeUninit, sync::Arc, time::Duration};

use cardbroker_client as client;
use client::WatchEvent;
use tokio::sync::Mutex;

use crate::{
    border::{call, emptied, flag, give, given, value},
    client::Client,
    error::Error,
    home::Home,
    readers::Reader,
    stop::Stop,
};

/// The broker has reported its readers, for the first time or again; the differences follow.
pub const CARDBROKER_EVENT_KIND_CONNECTED: i32 = 1;
/// The connection was lost, or no broker answered within the connect timeout; the event has the
/// error. The watch reconnects by itself.
pub const CARDBROKER_EVENT_KIND_DISCONNECTED: i32 = 2;
/// A reader is new or has changed; the event has its latest state.
pub const CARDBROKER_EVENT_KIND_UPDATED: i32 = 3;
/// A reader is gone; the event has its last state.
pub const CARDBROKER_EVENT_KIND_REMOVED: i32 = 4;

/// Follows all readers. It works during cardbroker_watch_next, which reports changes between two
/// calls later and only the latest state of each reader. Of several threads in
/// cardbroker_watch_next each gets other events.
pub struct Watch {
    home: Arc<Home>,
    watch: Mutex<client::Watch>,
    stop: Stop,
}

/// One event of a watch.
pub struct Event {
    kind: i32,
    reader: Option<Reader>,
    error: Option<Box<Error>>,
}

impl From<WatchEvent> for Event {
    fn from(event: WatchEvent) -> Self {
        let (kind, reader, error) = match event {
            WatchEvent::Connected => (CARDBROKER_EVENT_KIND_CONNECTED, None, None),
            WatchEvent::Disconnected(error) => (CARDBROKER_EVENT_KIND_DISCONNECTED, None, Some(error.into())),
            WatchEvent::Updated(reader) => (CARDBROKER_EVENT_KIND_UPDATED, Some(reader.into()), None),
            WatchEvent::Removed(reader) => (CARDBROKER_EVENT_KIND_REMOVED, Some(reader.into()), None),
        };
        Self { kind, reader, error }
    }
}

/// Waits for a future up to a time; a negative time means without limit. `None` if the time is over
/// or the stop is set.
pub(crate) fn wait<T>(home: &Home, stop: &Stop, milliseconds: i64, future: impl Future<Output = T>) -> Option<T> {
    home.wait(stop.unless(async {
        match u64::try_from(milliseconds) {
            Ok(milliseconds) => tokio::time::timeout(Duration::from_millis(milliseconds), future).await.ok(),
            Err(_) => Some(future.await),
        }
    }))
    .flatten()
}

/// Makes a watch of all readers. Stores it in *watch, or NULL.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_client_watch(
    client: Option<&Client>,
    watch: Option<&mut MaybeUninit<*mut Watch>>,
    error: Option<&mut MaybeUninit<*mut Error>>,
) -> i32 {
    call(error, || {
        let made = emptied(watch, "watch")?;
        let (home, client) = Client::of(client)?;
        give(made, Watch { home: home.clone(), watch: Mutex::new(client.watch()), stop: Stop::new() });
        Ok(())
    })
}

/// Waits for the next event, at most this time in milliseconds; negative: without limit. Stores it in
/// *event, or NULL without an event: the time is over, or the watch was stopped.
///
/// 90 s of silence count as a lost connection. The pauses between attempts to connect grow from 0.1 s
/// to 5 s.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_watch_next(
    watch: Option<&Watch>,
    timeout_ms: i64,
    event: Option<&mut MaybeUninit<*mut Event>>,
    error: Option<&mut MaybeUninit<*mut Error>>,
) -> i32 {
    call(error, || {
        let came = emptied(event, "event")?;
        let Watch { home, watch, stop } = given(watch, "watch")?;
        home.check()?;
        if let Some(event) = wait(home, stop, timeout_ms, async { watch.lock().await.next().await }) {
            give(came, Event::from(event));
        }
        Ok(())
    })
}

/// Ends the watch: a waiting cardbroker_watch_next and every later one has no event. Any thread may
/// call it. The handle must still be freed.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_watch_stop(watch: Option<&Watch>) {
    value((), || {
        if let Some(watch) = watch.filter(|watch| watch.home.check().is_ok()) {
            watch.stop.set();
        }
    });
}

/// Whether the watch was stopped.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_watch_is_stopped(watch: Option<&Watch>) -> i32 {
    flag(|| watch.is_some_and(|watch| watch.home.check().is_ok() && watch.stop.is_set()))
}

/// Frees a watch. NULL is allowed. In a forked child the parent's handle is left alone.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_watch_free(watch: Option<Box<Watch>>) {
    value((), || Home::free(watch, |watch| &watch.home));
}

/// The kind of an event (CARDBROKER_EVENT_KIND_...). 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_event_kind(event: Option<&Event>) -> i32 {
    value(0, || event.map_or(0, |event| event.kind))
}

/// The reader of an event, which lives as long as the event. NULL for CONNECTED and DISCONNECTED.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_event_reader(event: Option<&Event>) -> Option<&Reader> {
    value(None, || event?.reader.as_ref())
}

/// The error of an event, which lives as long as the event. NULL unless DISCONNECTED.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_event_error(event: Option<&Event>) -> Option<&Error> {
    value(None, || event?.error.as_deref())
}

/// Frees an event. NULL is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_event_free(event: Option<Box<Event>>) {
    value((), || drop(event));
}
