//! Watching the caller's own waiting requests.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use cardbroker_proto::v1::{self, WatchTurnRequest, WatchTurnResponse};
use tokio_stream::Stream;
use tonic::Streaming;

use crate::{
    Client, Error, ReaderName,
    query::Stub,
    reopening::{Opening, Reopening},
    response::{count, time},
};

/// A request of this program that waits for its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitingTurn {
    /// The resource name of the reader: `readers/{id}`.
    pub reader: String,
    /// Whether the request opens a session; otherwise it runs a unit.
    pub is_session: bool,
    /// The number of turns before this one, an estimate: callers come and go, and a group that has the card may keep it
    /// for several turns where that saves a reset.
    pub turns_ahead: u32,
    /// When the request arrived; `None` if unknown.
    pub arrive_time: Option<SystemTime>,
    /// When the request gives up; `None` if unknown.
    pub deadline_time: Option<SystemTime>,
    /// The turn in progress at the reader; `None` if nobody has the turn.
    pub holder: Option<TurnHolder>,
}

/// A turn in progress, of any caller.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TurnHolder {
    /// Whether it is one of the caller's own turns.
    pub is_own: bool,
    /// Whether it is a session; otherwise it is a unit.
    pub is_session: bool,
    /// When the turn began; `None` if unknown.
    pub begin_time: Option<SystemTime>,
}

/// Watches the caller's own waiting requests; made by [`Client::watch_turn`]. Also a [`Stream`], which never ends.
///
/// Each item lists all waiting requests, ordered by reader and arrival. After an error the next call opens the stream
/// again: requests that waited on a lost connection are gone.
#[derive(Debug)]
pub struct WatchTurn {
    client: Client,
    reader: Option<ReaderName>,
    stream: Reopening<WatchTurnResponse>,
}

impl WatchTurn {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, reader: None, stream: Reopening::Closed }
    }

    /// Limits the watch to requests at this reader.
    pub fn at(mut self, reader: impl Into<ReaderName>) -> Self {
        self.reader = Some(reader.into());
        self
    }

    /// Returns all waiting requests, at once and then after each change, at most four times a second. Waits without
    /// limit; cancel-safe: a dropped call loses nothing.
    ///
    /// # Errors
    /// [`Error::NotRunning`], [`Error::Failed`]; [`Error::Invalid`] if no reader or several have the display name. 90 s
    /// of silence count as a lost connection.
    pub async fn next(&mut self) -> Result<Vec<WaitingTurn>, Error> {
        poll_fn(|context| self.poll_turns(context)).await
    }

    fn poll_turns(&mut self, context: &mut Context<'_>) -> Poll<Result<Vec<WaitingTurn>, Error>> {
        let Self { client, reader, stream } = self;
        loop {
            let open = || -> Opening<_> { Box::pin(open(client.clone(), reader.clone())) };
            let message = ready!(stream.poll_message(context, client, open))?;
            if !message.is_heartbeat {
                return Poll::Ready(Ok(message.waiting.into_iter().map(WaitingTurn::from).collect()));
            }
        }
    }
}

impl Stream for WatchTurn {
    type Item = Result<Vec<WaitingTurn>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_turns(context).map(Some)
    }
}

async fn open(client: Client, reader: Option<ReaderName>) -> Result<Streaming<WatchTurnResponse>, Error> {
    let reader = ReaderName::resolve_or_all(reader, &client).await?;
    let call = |mut stub: Stub, request| async move { stub.watch_turn(request).await };
    client.ask(WatchTurnRequest { reader }, call).await
}

impl From<v1::WaitingTurn> for WaitingTurn {
    fn from(wire: v1::WaitingTurn) -> Self {
        Self {
            reader: wire.reader,
            is_session: wire.is_session,
            turns_ahead: count(wire.turns_ahead_count),
            arrive_time: time(wire.arrive_time),
            deadline_time: time(wire.deadline_time),
            holder: wire.holder.map(|holder| TurnHolder {
                is_own: holder.is_own,
                is_session: holder.is_session,
                begin_time: time(holder.begin_time),
            }),
        }
    }
}
