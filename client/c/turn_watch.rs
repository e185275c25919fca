//! Watching this program's own waiting requests.

use std::{
    ffi::{CString, c_char},
    mem::MaybeUninit,
    ptr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use cardbroker_client as client;
use client::{WaitingTurn, WatchTurn};
use tokio::sync::Mutex;

use crate::{
    border::{address, c_text, call, emptied, flag, give, given, optional_text, value},
    client::Client,
    error::Error,
    home::Home,
    stop::Stop,
    watch::wait,
};

/// Follows the waiting requests of this program, at all readers or at one.
pub struct TurnWatch {
    home: Arc<Home>,
    watch: Mutex<WatchTurn>,
    stop: Stop,
}

/// The waiting requests at one moment, ordered by reader and arrival.
pub struct Turns(Vec<(CString, WaitingTurn)>);

/// Nanoseconds since 1970; 0 for an unknown time.
pub(crate) fn unix_time(time: Option<SystemTime>) -> i64 {
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

fn get<T>(turns: Option<&Turns>, index: usize, part: impl FnOnce(&WaitingTurn) -> T) -> Option<T> {
    turns?.0.get(index).map(|(_, turn)| part(turn))
}

/// Makes a watch of this program's waiting requests at a reader. NULL: at all readers. Stores it in
/// *watch, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardbroker_client_watch_turn(
    client: Option<&Client>,
    reader: *const c_char,
    watch: Option<&mut MaybeUninit<*mut TurnWatch>>,
    error: Option<&mut MaybeUninit<*mut Error>>,
) -> i32 {
    call(error, || {
        let made = emptied(watch, "watch")?;
        // SAFETY: C's promise; see lib.rs.
        let reader = unsafe { optional_text(reader, "reader") }?;
        let (home, client) = Client::of(client)?;
        let watch = match reader {
            Some(reader) => client.watch_turn().at(reader),
            None => client.watch_turn(),
        };
        give(made, TurnWatch { home: home.clone(), watch: Mutex::new(watch), stop: Stop::new() });
        Ok(())
    })
}

/// Waits for the waiting requests, which come at once and after each change, at most this time in
/// milliseconds; negative: without limit. Stores them in *turns, or NULL: the time is over, or the
/// watch was stopped. After an error the next call opens the watch again.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_turn_watch_next(
    watch: Option<&TurnWatch>,
    timeout_ms: i64,
    turns: Option<&mut MaybeUninit<*mut Turns>>,
    error: Option<&mut MaybeUninit<*mut Error>>,
) -> i32 {
    call(error, || {
        let came = emptied(turns, "turns")?;
        let TurnWatch { home, watch, stop } = given(watch, "watch")?;
        home.check()?;
        if let Some(turns) = wait(home, stop, timeout_ms, async { watch.lock().await.next().await }).transpose()? {
            give(came, Turns(turns.into_iter().map(|turn| (c_text(&*turn.reader), turn)).collect()));
        }
        Ok(())
    })
}

/// Ends the watch: a waiting cardbroker_turn_watch_next and every later one has nothing. Any thread
/// may call it. The handle must still be freed.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_turn_watch_stop(watch: Option<&TurnWatch>) {
    value((), || {
        if let Some(watch) = watch.filter(|watch| watch.home.check().is_ok()) {
            watch.stop.set();
        }
    });
}

/// Whether the watch was stopped.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_turn_watch_is_stopped(watch: Option<&TurnWatch>) -> i32 {
    flag(|| watch.is_some_and(|watch| watch.home.check().is_ok() && watch.stop.is_set()))
}

/// Frees a watch. NULL is allowed. In a forked child the parent's handle is left alone.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_turn_watch_free(watch: Option<Box<TurnWatch>>) {
    value((), || Home::free(watch, |watch| &watch.home));
}

/// The number of waiting requests.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_turns_count(turns: Option<&Turns>) -> usize {
    value(0, || turns.map_or(0, |turns| turns.0.len()))
}

/// The name of the reader at which a request waits, readers/{id}.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_turns_reader(turns: Option<&Turns>, index: usize) -> *const c_char {
    value(ptr::null(), || address(turns.and_then(|turns| turns.0.get(index)).map(|(reader, _)| reader)))
}

/// Whether a request opens a session; otherwise it runs a unit.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_turns_is_session(turns: Option<&Turns>, index: usize) -> i32 {
    flag(|| get(turns, index, |turn| turn.is_session).unwrap_or_default())
}

/// The number of turns ahead of a request, an estimate.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_turns_ahead_count(turns: Option<&Turns>, index: usize) -> u32 {
    value(0, || get(turns, index, |turn| turn.turns_ahead).unwrap_or_default())
}

/// The arrival time of a request, in nanoseconds since 1970; 0 if it is unknown.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_turns_arrive_time_ns(turns: Option<&Turns>, index: usize) -> i64 {
    value(0, || get(turns, index, |turn| unix_time(turn.arrive_time)).unwrap_or_default())
}

/// The end of a request's wait, in nanoseconds since 1970; 0 if it is unknown.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_turns_deadline_time_ns(turns: Option<&Turns>, index: usize) -> i64 {
    value(0, || get(turns, index, |turn| unix_time(turn.deadline_time)).unwrap_or_default())
}

/// Whether somebody has the turn at the reader.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_turns_has_holder(turns: Option<&Turns>, index: usize) -> i32 {
    flag(|| get(turns, index, |turn| turn.holder.is_some()).unwrap_or_default())
}

/// Whether the turn in progress belongs to this program.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_turns_holder_is_own(turns: Option<&Turns>, index: usize) -> i32 {
    flag(|| get(turns, index, |turn| turn.holder.as_ref().is_some_and(|holder| holder.is_own)).unwrap_or_default())
}

/// Whether the turn in progress is a session; otherwise it is a unit.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_turns_holder_is_session(turns: Option<&Turns>, index: usize) -> i32 {
    flag(|| get(turns, index, |turn| turn.holder.as_ref().is_some_and(|holder| holder.is_session)).unwrap_or_default())
}

/// The start of the turn in progress, in nanoseconds since 1970; 0 if it is unknown.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_turns_holder_begin_time_ns(turns: Option<&Turns>, index: usize) -> i64 {
    value(0, || {
        let begin = |turn: &WaitingTurn| unix_time(turn.holder.as_ref().and_then(|holder| holder.begin_time));
        get(turns, index, begin).unwrap_or_default()
    })
}

/// Frees a list of waiting requests. NULL is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_turns_free(turns: Option<Box<Turns>>) {
    value((), || drop(turns));
}
