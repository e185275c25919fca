//! How a handle gets its turn, and keeps it between its calls.

use std::time::Duration;

use cardbroker_core::{
    pcsclite::{
        code::Code,
        handles::{Card, ShareMode},
        pause::{Expiry, Phase},
    },
    turns::{
        lease::Terms,
        turn::{CardRequirement, Disposition, MAX_WAIT, TurnRequest},
    },
};
use tokio::time::{Instant, sleep};
use tracing::Span;

use super::{
    connection::Connection,
    input::Ended,
    turns::{Event, HOLD, Held, Turn, Waiting},
    unserved::Unserved,
};
use crate::{
    broker::RequestContext,
    policy::audit::SessionRecords,
    reader::{
        session::{Opening, Session, SessionRequest},
        spans,
    },
};

/// The minimum idle time of an exclusive handle at a reader whose card is released: its program must have the time for
/// the next call.
const MIN_IDLE: Duration = Duration::from_secs(1);

/// The time for which others have waited before a handle that has idled for too long loses its turn. It is shorter than
/// any wait that ends without a place in the queue.
const NOTICE: Duration = Duration::from_millis(500);

/// The purpose of a turn, and how the request for it waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Need {
    /// How long the request is held.
    pub(super) hold: Duration,
    /// Whether the handle keeps its place in the queue after that, because its client asks again.
    pub(super) keeps_place: bool,
    /// Whether a transaction begins with it.
    pub(super) begins: bool,
    /// Whether the first command selects an application by name; `None` if it is not known yet.
    pub(super) selects: Option<bool>,
}

impl Default for Need {
    fn default() -> Self {
        Self { hold: HOLD, keeps_place: false, begins: false, selects: None }
    }
}

impl Connection {
    /// The request for the turns of a handle with this share mode.
    pub(super) fn session_request(&self, share: ShareMode) -> SessionRequest {
        let turn = TurnRequest {
            reset_before: None,
            if_insertion_id: None,
            if_state_tag: None,
            if_not_raised: false,
            wait_timeout: MAX_WAIT,
            card: CardRequirement::Required,
        };
        let idle_timeout = self.shared.settings.idle.of(share);
        SessionRequest { turn, idle_timeout, disposition: Disposition::Leave, records: SessionRecords::Changes }
    }

    /// The request for a turn of this context at the reader.
    pub(super) fn request_context<'a>(&'a self, reader: &'a str) -> RequestContext<'a> {
        RequestContext { caller: &self.caller, group: self.group(reader), reader, traceparent: None }
    }

    /// Gets the handle its turn. A handle that is refused may have its turn all the same, for its next try. A process
    /// is not held for a turn that its own handles keep.
    pub(super) async fn acquire(&mut self, handle: u32, need: Need) -> Result<(), Unserved> {
        let mut waiting = match self.turns.take(handle) {
            // Such a turn came while the client was away. The handle gets its news only now.
            Some(Turn::Held(held)) if !self.has_turn(handle) => {
                return Ok(self.on_begun(handle, held.session, need)?);
            }
            Some(held @ Turn::Held(_)) => {
                self.turns.put(handle, held);
                return Ok(());
            }
            Some(Turn::Waiting(waiting)) => waiting,
            None if self.is_own_process_busy(handle) => return Err(Code::SHARING_VIOLATION.into()),
            None => Waiting::new(self.request_turn(handle)?, 0),
        };
        let closing = self.closing.clone();
        let hold = sleep(need.hold);
        tokio::pin!(hold);
        loop {
            if self.is_own_process_busy(handle) {
                hold.as_mut().reset(Instant::now());
            }
            tokio::select! {
                biased;
                begun = waiting.begun() => return Ok(self.on_begun(handle, begun?, need)?),
                () = closing.cancelled() => return Err(Ended::Stopping.into()),
                (other, event) = self.turns.next() => self.on_turn_event(other, event),
                Ok(()) = self.member.kept.changed() => self.leave_own_queue(),
                () = &mut hold => {
                    if need.keeps_place && !self.is_own_process_busy(handle) {
                        waiting.misses = 0;
                        self.turns.put(handle, Turn::Waiting(waiting));
                    }
                    return Err(Code::SHARING_VIOLATION.into());
                }
                ended = self.input.gone() => return Err(ended.into()),
            }
        }
    }

    /// Whether the handle has begun a turn, by [`Connection::on_begun`].
    fn has_turn(&self, handle: u32) -> bool {
        self.shared.state.handles(|handles| handles.has_turn(handle))
    }

    fn is_own_process_busy(&self, handle: u32) -> bool {
        self.shared.state.handles(|handles| handles.is_own_process_busy(handle))
    }

    pub(super) fn request_turn(&self, handle: u32) -> Result<Opening, Unserved> {
        let at = self.connected(handle)?;
        let span = spans::session(&Span::current());
        let open = || self.shared.broker.open_session(self.request_context(&at.reader), self.session_request(at.share));
        Ok(span.in_scope(open)?)
    }

    /// The turn of the handle has come, and its client is there.
    fn on_begun(&mut self, handle: u32, session: Box<Session>, need: Need) -> Result<(), Code> {
        let marks = session.marks();
        let card = Card {
            insertion: session.turn().insertion_id.clone(),
            resets: marks.resets(),
            selection: marks.selection(),
        };
        let begun = self.shared.state.handles(|handles| handles.on_turn(handle, &card, need.begins, need.selects));
        let phase = Phase::Resting { has_news: begun.is_err() };
        self.turns.put(handle, Turn::Held(Box::new(Held::new(session, phase))));
        begun
    }

    /// A call of the handle has ended: its turn is kept, or rests.
    pub(super) fn settle_turn(&mut self, handle: u32) {
        let has_news = self.has_news(handle);
        self.settle_turn_with(handle, has_news);
    }

    /// Whether the handle has got news of a change, and has not reconnected since.
    pub(super) fn has_news(&self, handle: u32) -> bool {
        self.shared.state.handles(|handles| handles.has_news(handle))
    }

    /// As [`Connection::settle_turn`]. `has_news`: the handle had news of a change at the beginning of the call.
    pub(super) fn settle_turn_with(&mut self, handle: u32, has_news: bool) {
        // A turn that came while the client was away still waits for a call that begins it.
        if !self.has_begun(handle) {
            return;
        }
        let Some(before) = self.turns.held(handle).map(|held| held.phase()) else { return };
        let (keeps, exclusive) =
            self.shared.state.handles(|handles| (handles.keeps_turn(handle), handles.exclusive_reader(handle)));
        let share = if exclusive.is_some() { ShareMode::Exclusive } else { ShareMode::Shared };
        let after = match before {
            // As after the call before: only another share mode changes the limits.
            Phase::Kept { share: same, .. } if keeps && !has_news && same == share => before,
            _ if keeps && !has_news => self.kept(share, exclusive.as_deref()),
            _ => Phase::Resting { has_news },
        };
        let idle = self.shared.settings.idle.of(share);
        let Some(held) = self.turns.held(handle) else { return };
        if after != before {
            // The handle may have another share mode since the turn began.
            held.session.set_terms(Terms { idle_timeout: idle, notice: NOTICE.min(idle) });
        }
        held.on_call_over(after);
        if let Some(expiry @ Expiry::TooLong(_)) = held.expired() {
            return self.on_turn_event(handle, Event::Expired(expiry));
        }
        if keeps && !matches!(before, Phase::Kept { .. }) {
            self.shared.state.keep(&self.member);
        }
        self.end_rest(handle);
    }

    /// A turn that a handle with this share mode keeps, in that reader if it is exclusive.
    fn kept(&self, share: ShareMode, reader: Option<&str>) -> Phase {
        let reader = reader.and_then(|reader| self.reader(reader));
        let limit = reader.and_then(|reader| self.shared.idle_limit(&reader.names.display_name));
        let idle = limit.map(|limit| limit.max(MIN_IDLE));
        Phase::Kept { share, idle, wanted: self.shared.settings.idle.own_group }
    }

    /// Ends the turn of the handle if it rests and others wait that it delays for nothing.
    pub(super) fn end_rest(&mut self, handle: u32) {
        if self.turns.held(handle).is_some_and(|held| held.expired() == Some(Expiry::Rested)) {
            self.end_turn(handle);
        }
    }

    /// A call of the handle gets this code without a turn. A place in the queue is of no use to it any more: it has got
    /// news, or its own process keeps the turn.
    pub(super) fn refuse(&mut self, handle: u32, code: Code) -> Code {
        if !self.has_begun(handle) {
            self.end_turn(handle);
        }
        code
    }

    /// A handle of the process keeps its turn from now on. The requests of its other handles at the reader leave the
    /// queue, where they would count as other programs that wait for it.
    pub(super) fn leave_own_queue(&mut self) {
        for handle in self.turns.handles() {
            if self.turns.is_waiting(handle) && self.is_own_process_busy(handle) {
                drop(self.turns.take(handle));
            }
        }
    }

    /// Whether the handle has a turn for which it is back.
    pub(super) fn has_begun(&mut self, handle: u32) -> bool {
        self.turns.held(handle).is_some_and(|held| !matches!(held.phase(), Phase::Awaited { .. }))
    }
}
