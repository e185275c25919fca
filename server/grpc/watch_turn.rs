//! `WatchTurn`: the caller's own waiting requests, again when something has changed, at most four times a second.

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

use super::{
    convert::{number, timestamp},
    status::to_status,
    watch_readers::stopping,
};
use crate::broker::{VisibleTurns, WaitingTurn};

/// The pause between two looks at busy readers.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// The most waiting requests of one message.
const MAX_WAITING: usize = 4_096;

/// Returns the stream of one watcher, who sees `turns`; `reader` is the one that the request names.
pub(super) fn stream(
    turns: VisibleTurns,
    reader: Option<String>,
    heartbeat_interval: Duration,
    draining: CancellationToken,
) -> impl Stream<Item = Result<WatchTurnResponse, Status>> + Send + use<> {
    let watcher = Watcher { turns, known: None, next_look: Instant::now(), heartbeat_interval, draining };
    futures_util::stream::unfold(Some((watcher, reader)), |state| async {
        let (mut watcher, reader) = state?;
        match watcher.next().await {
            Ok(response) => Some((Ok(response), Some((watcher, reader)))),
            Err(failure) => Some((Err(to_status(&failure, reader.as_deref())), None)),
        }
    })
}

struct Watcher {
    turns: VisibleTurns,
    /// What the watcher was told last.
    known: Option<Vec<WaitingTurn>>,
    /// No look is taken before.
    next_look: Instant,
    heartbeat_interval: Duration,
    draining: CancellationToken,
}

impl Watcher {
    async fn next(&mut self) -> Result<WatchTurnResponse, Failure> {
        let heartbeat = Instant::now() + self.heartbeat_interval;
        loop {
            tokio::select! {
                biased;
                () = self.draining.cancelled() => return Err(stopping()),
                () = sleep_until(self.next_look) => {}
            }
            let looked = self.turns.look().await;
            self.next_look = Instant::now() + LOOK_INTERVAL;
            match looked {
                Ok(mut latest) => {
                    latest.truncate(MAX_WAITING);
                    if self.known.as_ref() != Some(&latest) {
                        let waiting = latest.iter().map(waiting_turn).collect();
                        self.known = Some(latest);
                        return Ok(WatchTurnResponse { waiting, is_heartbeat: false });
                    }
                }
                // Too many look at once. What was known stays until the next look.
                Err(failure) if failure.reason == Reason::ReaderUnresponsive => continue,
                Err(failure) => return Err(failure),
            }
            tokio::select! {
                biased;
                () = self.draining.cancelled() => return Err(stopping()),
                // Before the changes, which may be without end at other callers' busy readers.
                () = sleep_until(heartbeat) => {
                    let waiting = self.known.iter().flatten().map(waiting_turn).collect();
                    return Ok(WatchTurnResponse { waiting, is_heartbeat: true });
                }
                changed = self.turns.changed() => changed.map_err(|_| stopping())?,
            }
        }
    }
}

fn waiting_turn(turn: &WaitingTurn) -> v1::WaitingTurn {
    v1::WaitingTurn {
        reader: turn.reader.clone(),
        is_session: turn.kind == TurnKind::Session,
        turns_ahead_count: number(turn.turns_ahead),
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
