//! `WatchTurn`: the caller's own waiting requests, sent again after changes, at most four times a second.

use std::time::Duration;

use cardbroker_core::{
    error::{Failure, Reason},
    turns::waiting::{Holder, TurnKind},
};
use cardbroker_proto::v1::{self, WatchTurnResponse};
use futures_core::Stream;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{convert::to_i32, heartbeat::Heartbeat, status::to_status, wall_clock::timestamp, watch_readers::stopping};
use crate::broker::{VisibleTurns, WaitingTurn};

/// The pause between two queries of busy readers.
const QUERY_INTERVAL: Duration = Duration::from_millis(250);

/// Maximum waiting requests in one message.
const MAX_WAITING: usize = 4_096;

/// Returns the stream of one watcher, which sees `turns`; `reader` is the request's reader.
pub(super) fn stream(
    turns: VisibleTurns,
    reader: Option<String>,
    heartbeat_interval: Duration,
    draining: CancellationToken,
) -> impl Stream<Item = Result<WatchTurnResponse, Status>> + Send + use<> {
    let watcher = Watcher { turns, known: None, next_query: Instant::now(), draining };
    let heartbeat = Heartbeat::new(heartbeat_interval);
    futures_util::stream::unfold(Some((watcher, heartbeat, reader)), |state| async {
        let (mut watcher, mut heartbeat, reader) = state?;
        let next = heartbeat.next_or_silence(watcher.next()).await;
        match next.unwrap_or_else(|| Ok(watcher.heartbeat())) {
            Ok(response) => Some((Ok(response), Some((watcher, heartbeat, reader)))),
            Err(failure) => Some((Err(to_status(&failure, reader.as_deref())), None)),
        }
    })
}

struct Watcher {
    turns: VisibleTurns,
    /// The content of the last message.
    known: Option<Vec<WaitingTurn>>,
    /// The earliest time of the next query.
    next_query: Instant,
    draining: CancellationToken,
}

impl Watcher {
    /// Returns the next changed list. Cancel-safe: the next call queries first.
    async fn next(&mut self) -> Result<WatchTurnResponse, Failure> {
        loop {
            tokio::select! {
                biased;
                () = self.draining.cancelled() => return Err(stopping()),
                () = sleep_until(self.next_query) => {}
            }
            let queried = self.turns.query().await;
            self.next_query = Instant::now() + QUERY_INTERVAL;
            match queried {
                Ok(mut latest) => {
                    latest.truncate(MAX_WAITING);
                    if self.known.as_ref() != Some(&latest) {
                        let waiting = latest.iter().map(waiting_turn).collect();
                        self.known = Some(latest);
                        return Ok(WatchTurnResponse { waiting, is_heartbeat: false });
                    }
                }
                // Too many queries at the same time. The last list stays valid until the next query.
                Err(failure) if failure.reason == Reason::ReaderUnresponsive => continue,
                Err(failure) => return Err(failure),
            }
            tokio::select! {
                biased;
                () = self.draining.cancelled() => return Err(stopping()),
                changed = self.turns.changed() => changed.map_err(|_| stopping())?,
            }
        }
    }

    fn heartbeat(&self) -> WatchTurnResponse {
        let waiting = self.known.iter().flatten().map(waiting_turn).collect();
        WatchTurnResponse { waiting, is_heartbeat: true }
    }
}

fn waiting_turn(turn: &WaitingTurn) -> v1::WaitingTurn {
    v1::WaitingTurn {
        reader: turn.reader.clone(),
        is_session: turn.kind == TurnKind::Session,
        turns_ahead_count: to_i32(turn.turns_ahead),
        arrive_time: Some(timestamp(turn.since)),
        deadline_time: Some(timestamp(turn.deadline)),
        holder: turn.holder.map(holder),
    }
}

fn holder(holder: Holder) -> v1::TurnHolder {
    v1::TurnHolder {
        is_own: holder.is_caller,
        is_session: holder.kind == TurnKind::Session,
        begin_time: Some(timestamp(holder.since)),
    }
}
