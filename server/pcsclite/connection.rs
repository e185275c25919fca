//! One connection, which has one context of a program: what comes next, and the answers that need no turn.

use std::{sync::Arc, time::Duration};

use cardbroker_core::{
    caller::{Caller, Principal},
    pcsclite::{
        code::Code,
        wire::{Agreed, Message, Reply, Request, Version},
    },
};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    context::{Context, cancelled},
    door::Shared,
    groups::Groups,
    input::{Ended, Input},
    state::Member,
    turns::{Event, Turns},
    waiting::Waits,
};
use crate::{broker::VisibleReaders, caller::group::GroupMark, listen::LocalStream, registry::ReaderView};

/// The time for a connection without a context to establish one. A connection that only cancels has ended by then.
const ESTABLISH_TIME: Duration = Duration::from_secs(10);

/// The highest scope of a context.
const MAX_SCOPE: u32 = 3;

/// One connection. Its task owns it; dropping it ends its turns.
pub(super) struct Connection {
    /// The door, with the broker.
    pub(super) shared: Arc<Shared>,
    /// Cancelled when the door closes.
    pub(super) closing: CancellationToken,
    /// The client's end of the conversation.
    pub(super) input: Input,
    /// The process at the other end.
    pub(super) caller: Caller,
    /// The user of the process.
    pub(super) user: Principal,
    /// The place among the connections of the process.
    pub(super) member: Member,
    /// The isolation groups of the turns.
    groups: Groups,
    /// The readers that the caller may see.
    pub(super) readers: VisibleReaders,
    /// The version that the client speaks. 4:4 before it has said so.
    pub(super) version: Version,
    /// The context, once it is established.
    pub(super) context: Option<Context>,
    /// The end of the connection unless it has a context by then.
    establish_by: Instant,
    /// Whether it has had a context before.
    has_released: bool,
    /// Whether the client waits for a change.
    pub(super) waits: Waits,
    /// The turns of the context's handles.
    pub(super) turns: Turns,
    /// The requests that wait if the user's budget is used up.
    paced: Paced,
    /// The request that waits, and the time until which it does.
    deferred: Option<(Instant, Box<Message>)>,
}

/// The requests that wait for their user's next reading if the budget of the user is used up.
enum Paced {
    None,
    /// The next one that may be held, of a new connection or after a refused one. What comes before, such as the
    /// version or the end of a transaction, is served at once: all threads of a program would stop.
    Holdable,
    /// The next one, after a refused request that is itself served at once.
    Any,
}

/// The next thing for a connection to do.
enum Step {
    Request(Box<Message>),
    Turn(u32, Event),
    Readers,
    /// A handle of the process keeps a turn from now on.
    Kept,
    Shown,
    Cancelled,
}

impl Connection {
    pub(super) fn new(
        shared: Arc<Shared>,
        stream: LocalStream,
        caller: Caller,
        groups: Groups,
        closing: CancellationToken,
    ) -> Self {
        let member = shared.state.enter(&caller);
        let readers = shared.broker.follow_readers(&caller);
        Self {
            input: Input::new(stream),
            user: caller.principal(),
            member,
            groups,
            readers,
            version: Version::V4_4,
            context: None,
            establish_by: Instant::now() + ESTABLISH_TIME,
            has_released: false,
            waits: Waits::default(),
            turns: Turns::default(),
            paced: Paced::Holdable,
            deferred: None,
            caller,
            shared,
            closing,
        }
    }

    /// Serves the client until it leaves. Returns why the conversation ended.
    pub(super) async fn run(&mut self) -> Ended {
        loop {
            let step = match self.next().await {
                Ok(step) => step,
                Err(ended) => return self.on_end(ended),
            };
            let done = match step {
                Step::Request(message) => match self.pause(&message) {
                    Some(pause) => {
                        self.deferred = Some((Instant::now() + pause, message));
                        Ok(())
                    }
                    None => self.on_request(*message).await,
                },
                Step::Turn(handle, event) => {
                    self.on_turn_event(handle, event);
                    Ok(())
                }
                Step::Readers => {
                    self.refresh();
                    Ok(())
                }
                Step::Kept => {
                    self.leave_own_queue();
                    Ok(())
                }
                Step::Shown => self.on_shown().await,
                Step::Cancelled => self.on_cancelled().await,
            };
            if let Err(ended) = done {
                return self.on_end(ended);
            }
        }
    }

    /// The time for which a request must wait, because its user's budget is used up.
    fn pause(&mut self, message: &Message) -> Option<Duration> {
        let is_paced = match self.paced {
            Paced::None => false,
            Paced::Holdable => message.request.may_be_held(),
            Paced::Any => true,
        };
        if !is_paced {
            return None;
        }
        self.paced = Paced::None;
        self.shared.budgets.pause(&self.user)
    }

    /// Charges the end of the conversation to the user if it is the client's mistake.
    fn on_end(&self, ended: Ended) -> Ended {
        if matches!(ended, Ended::Malformed(_) | Ended::Foreign | Ended::TooSlow) {
            self.shared.budgets.charge(&self.user);
        }
        ended
    }

    /// Waits for what comes next. Cancel-safe.
    async fn next(&mut self) -> Result<Step, Ended> {
        let Self { closing, input, member, readers, context, turns, deferred, .. } = self;
        let establish_by = context.is_none().then_some(self.establish_by);
        let late = if self.has_released { Ended::Unused } else { Ended::TooSlow };
        tokio::select! {
            biased;
            () = closing.cancelled() => Err(Ended::Stopping),
            // Before the end of the wait, after which the cancellation would concern nothing.
            () = cancelled(context.as_mut()) => Ok(Step::Cancelled),
            (handle, event) = turns.next() => Ok(Step::Turn(handle, event)),
            message = async {
                if let Some((time, _)) = *deferred {
                    // Its client may leave meanwhile, for whose turn others wait.
                    tokio::select! {
                        biased;
                        () = sleep_until(time) => {}
                        ended = input.gone() => return Err(ended),
                    }
                }
                match deferred.take() {
                    Some((_, message)) => Ok(message),
                    None => input.next().await,
                }
            } => Ok(Step::Request(message?)),
            changed = readers.changed() => changed.map(|()| Step::Readers).map_err(|_| Ended::Stopping),
            Ok(()) = member.kept.changed() => Ok(Step::Kept),
            Ok(()) = member.changed.changed() => Ok(Step::Shown),
            () = until(establish_by) => Err(late),
        }
    }

    async fn on_request(&mut self, message: Message) -> Result<(), Ended> {
        let reply = match message.request {
            Request::Version { major, minor } => {
                let agreed = Agreed::with(major, minor);
                self.version = agreed.version;
                debug!(version = ?agreed.version, "the PC/SC program speaks this version of the protocol");
                Reply::Version(agreed)
            }
            Request::Establish { scope } if scope > MAX_SCOPE => Reply::Code(Code::INVALID_VALUE),
            Request::Establish { .. } => self.establish().map_or_else(Reply::Code, Reply::Established),
            Request::Cancel { context } => Reply::Code(self.shared.state.cancel(&self.member, context)),
            Request::Release { context } => {
                self.check_context(context)?;
                self.release();
                (self.establish_by, self.has_released) = (Instant::now() + ESTABLISH_TIME, true);
                Reply::Code(Code::SUCCESS)
            }
            Request::ReaderStates
            | Request::Wait
            | Request::StopWaiting
            | Request::ReaderEvents
            | Request::ArraySize
            | Request::Array => return self.on_readers_request(&message).await,
            Request::Transmit { .. } => return self.on_transmit(message).await,
            _ => return self.on_card_request(&message).await,
        };
        self.answer(&message, reply).await
    }

    /// Sends the answer to a request.
    pub(super) async fn answer(&mut self, message: &Message, reply: Reply<'_>) -> Result<(), Ended> {
        if let Reply::Code(code) = reply
            && !code.is_success()
        {
            debug!(function = message.request.function(), %code, "a PC/SC call was refused");
            if code.is_refusal() {
                self.paced = if message.request.may_be_held() { Paced::Holdable } else { Paced::Any };
                self.shared.budgets.charge(&self.user);
            }
        }
        self.input.send(&message.answer(reply)).await
    }

    /// Shows the process the readers as they are now.
    pub(super) fn refresh(&mut self) {
        self.shared.state.refresh(&self.member, &self.readers.list());
    }

    /// The isolation group of turns at a reader.
    pub(super) fn group(&self, reader: &str) -> GroupMark {
        let isolation = self.reader(reader).map(|reader| self.shared.isolation(&reader.names.display_name));
        self.groups.of(isolation.unwrap_or_default()).clone()
    }

    /// The reader as it is now; `None` if it is gone, or the caller may not see it any more.
    pub(super) fn reader(&self, id: &str) -> Option<Arc<ReaderView>> {
        self.readers.get(id)
    }
}

/// Waits until this time; pending without one.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.release();
    }
}
