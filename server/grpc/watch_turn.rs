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
    heartbeat::Heartbeat,
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
    let watcher = Watcher { turns, known: None, next_look: Instant::now(), draining };
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
    /// What the watcher was told last.
    known: Option<Vec<WaitingTurn>>,
    /// No look is taken before.
    next_look: Instant,
    draining: CancellationToken,
}

impl Watcher {
    /// What the watcher does not know. A call that is dropped is made up for by the next one, which looks first.
    async fn next(&mut self) -> Result<WatchTurnResponse, Failure> {
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
