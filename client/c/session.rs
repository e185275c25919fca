//! Sessions: a card that belongs to this program until it ends the session.

use std::{
    ffi::{CString, c_char},
    mem::MaybeUninit,
    ptr,
    sync::Arc,
    time::Duration,
};

use cardbroker_client as client;
use client::Delivery;

use crate::{
    answers::Answers,
    border::{address, array, c_text, call, constant, emptied, flag, give, given, nanoseconds, text, value},
    client::Client,
    commands::Commands,
    error::Error,
    home::Home,
    running::Running,
    stop::Stop,
    transmit::terms,
    turn::TurnOptions,
};

/// After a failure the first message runs that began after its caller received the failure; messages
/// sent before that fail too.
pub const CARDBROKER_RESTART_AUTOMATIC: i32 = 0;
/// The message runs after any failure before it.
pub const CARDBROKER_RESTART_NOW: i32 = 1;
/// The message fails too (not sent, PRECEDING_FAILED) if a message before it failed and none has run
/// since.
pub const CARDBROKER_RESTART_NEVER: i32 = 2;

/// An exclusive lease on a card: no command of another caller reaches it. Several threads may use a
/// session at once; their messages do not mix.
pub struct Session {
    home: Arc<Home>,
    session: Running<client::Session>,
    abort: Stop,
    insertion_id: CString,
    state_tag: CString,
    atr: Vec<u8>,
    queue_duration: Duration,
    was_reset: bool,
}

impl Session {
    fn of(home: &Arc<Home>, session: client::Session) -> Self {
        Self {
            home: home.clone(),
            abort: Stop::new(),
            insertion_id: c_text(session.insertion_id()),
            state_tag: c_text(session.state_tag()),
            atr: session.atr().to_vec(),
            queue_duration: session.queue_duration(),
            was_reset: session.was_reset(),
            session: Running::new(session),
        }
    }

    /// Runs one message of the session, unless this program has ended it.
    fn run<T>(&self, message: impl AsyncFnOnce(&client::Session) -> Result<T, client::Error>) -> Result<T, Box<Error>> {
        self.home.check()?;
        if self.abort.is_set() {
            return Err(Error::closed());
        }
        let outcome = self.session.with(|session| self.home.wait(self.abort.unless(message(session))));
        Ok(outcome.ok_or_else(Error::closed)?.ok_or_else(Error::aborted)??)
    }
}

/// The decision about a failure before a message; `None` leaves it to the session.
fn restarts(restart: i32) -> Result<Option<bool>, Box<Error>> {
    match restart {
        CARDBROKER_RESTART_AUTOMATIC => Ok(None),
        CARDBROKER_RESTART_NOW => Ok(Some(true)),
        CARDBROKER_RESTART_NEVER => Ok(Some(false)),
        _ => Err(Error::invalid(format!("the argument restart is no such constant: {restart}"))),
    }
}

/// Waits for the turn and takes a lease on the card in the reader. Options NULL: the defaults. Stores
/// the session in *session, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardbroker_open_session(
    client: Option<&Client>,
    reader: *const c_char,
    options: Option<&TurnOptions>,
    session: Option<&mut MaybeUninit<*mut Session>>,
    error: Option<&mut MaybeUninit<*mut Error>>,
) -> i32 {
    call(error, || {
        let opened = emptied(session, "session")?;
        // SAFETY: C's promise; see lib.rs.
        let reader = unsafe { text(reader, "reader") }?;
        let terms = terms(options)?;
        let (home, _) = Client::of(client)?;
        let open = async |client: &client::Client| terms.of_session(client.open_session(reader)).open().await;
        let session = Client::run(client, Delivery::NotSent, open)?;
        give(opened, Session::of(home, session));
        Ok(())
    })
}

/// Runs the commands in order up to the first stop; restart is one of CARDBROKER_RESTART_.... No
/// command of another call runs between them. Stores the answers in *answers, or NULL.
///
/// After a failed call the session remains usable while cardbroker_session_is_open returns 1.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_session_transmit(
    session: Option<&Session>,
    commands: Option<&Commands>,
    restart: i32,
    answers: Option<&mut MaybeUninit<*mut Answers>>,
    error: Option<&mut MaybeUninit<*mut Error>>,
) -> i32 {
    call(error, || {
        let answered = emptied(answers, "answers")?;
        let commands = given(commands, "commands")?.0.get()?;
        let restart = restarts(restart)?;
        let transmitted = given(session, "session")?.run(async |session| {
            let transmit = session.transmit(commands);
            match restart {
                Some(restart) => transmit.restart(restart).send().await,
                None => transmit.send().await,
            }
        })?;
        give(answered, Answers::of(transmitted));
        Ok(())
    })
}

/// Resets the card, CARDBROKER_CARD_RESET_WARM or _COLD; restart is one of CARDBROKER_RESTART_....
/// Stores the new answer to reset in the array atr of capacity bytes, as far as it fits, and its
/// length, 2-33, in *length, or 0 after a failure. Both may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardbroker_session_reset(
    session: Option<&Session>,
    reset: i32,
    restart: i32,
    atr: *mut u8,
    capacity: usize,
    length: Option<&mut MaybeUninit<usize>>,
    error: Option<&mut MaybeUninit<*mut Error>>,
) -> i32 {
    call(error, || {
        let mut length = length.map(|length| length.write(0));
        let reset = constant(reset, "reset")?;
        let restart = restarts(restart)?;
        let new_atr = given(session, "session")?.run(async |session| {
            let reset = session.reset(reset);
            match restart {
                Some(restart) => reset.restart(restart).send().await,
                None => reset.send().await,
            }
        })?;
        if !atr.is_null() {
            let count = new_atr.len().min(capacity);
            // SAFETY: C's promise of `capacity` bytes; see lib.rs. A new vector does not overlap them.
            unsafe { ptr::copy_nonoverlapping(new_atr.as_ptr(), atr, count) };
        }
        if let Some(length) = &mut length {
            **length = new_atr.len();
        }
        Ok(())
    })
}

/// Ends the session in order: calls in progress are answered, then the card is treated by
/// cardbroker_turn_options_set_disposition. Returns when the broker has confirmed it. The handle must
/// still be freed.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_session_close(
    session: Option<&Session>,
    error: Option<&mut MaybeUninit<*mut Error>>,
) -> i32 {
    call(error, || {
        let session = given(session, "session")?;
        session.home.check()?;
        let ending = session.session.take().ok_or_else(Error::closed)?;
        let end = session.home.wait(session.abort.unless(ending.close()));
        Ok(end.ok_or_else(Error::aborted)??)
    })
}

/// Ends the session at once and resets the card; calls in progress fail. Any thread may call it, but
/// no signal handler: it returns when the session's calls have returned. The handle must still be
/// freed.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_session_abort(session: Option<&Session>) {
    value((), || {
        if let Some(session) = session.filter(|session| session.home.check().is_ok()) {
            session.abort.set();
            drop(session.session.take());
        }
    });
}

/// Whether calls can still succeed, as far as this program knows. 0 in a forked child.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_session_is_open(session: Option<&Session>) -> i32 {
    flag(|| {
        let session = session.filter(|session| session.home.check().is_ok());
        session.and_then(|session| session.session.with(client::Session::is_open)).unwrap_or_default()
    })
}

/// The number of callers that wait for the card, as last reported by the broker.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_session_waiters(session: Option<&Session>) -> u32 {
    value(0, || {
        let session = session.filter(|session| session.home.check().is_ok());
        session.and_then(|session| session.session.with(client::Session::waiters)).unwrap_or_default()
    })
}

/// The insertion at the session's opening.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_session_insertion_id(session: Option<&Session>) -> *const c_char {
    value(ptr::null(), || address(session.map(|session| &session.insertion_id)))
}

/// The state tag at the start of the session.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_session_state_tag(session: Option<&Session>) -> *const c_char {
    value(ptr::null(), || address(session.map(|session| &session.state_tag)))
}

/// The card's answer to reset at the start of the session; its length goes to *length.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_session_atr(
    session: Option<&Session>,
    length: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    value(ptr::null(), || array(session.map(|session| &*session.atr), length))
}

/// The time that the session waited for its turn, in nanoseconds.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_session_queue_duration_ns(session: Option<&Session>) -> u64 {
    value(0, || session.map_or(0, |session| nanoseconds(session.queue_duration)))
}

/// Whether the card was reset between the previous turn and this one, or at the start of this one.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_session_was_reset(session: Option<&Session>) -> i32 {
    flag(|| session.is_some_and(|session| session.was_reset))
}

/// Frees a session. Without cardbroker_session_close it ends at once, and the card is reset. NULL is
/// allowed. In a forked child the parent's handle is left alone.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_session_free(session: Option<Box<Session>>) {
    value((), || Home::free(session, |session| &session.home));
}
