//! `WatchReaders`: a snapshot, then what has changed since the message before. The stream is pulled by the connection, so a slow watcher
//! finds several changes in one message and slows nobody.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use cardbroker_core::{
    caller::Caller,
    error::{Failure, Reason},
};
use cardbroker_proto::v1::{
    ReadersChange, ReadersSnapshot, WatchHeartbeat, WatchReadersRequest, WatchReadersResponse,
    watch_readers_response::Event,
};
use futures_core::Stream;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    readers::{readers, wire_reader},
    status::to_status,
};
use crate::{
    broker::{Broker, VisibleReaders},
    registry::View,
};

const MAX_TOKEN_CHARACTERS: usize = 128;

/// # Errors
/// [`Reason::InvalidRequest`] for a resume token that cannot be ours.
pub(super) fn check(request: &WatchReadersRequest) -> Result<(), Failure> {
    if request.resume_token.chars().count() > MAX_TOKEN_CHARACTERS {
        return Err(Failure::invalid(
            "resume_token",
            "longer than 128 characters: hand back the one that you were given",
        ));
    }
    Ok(())
}

/// The stream of one watcher. A resume token is not needed: it always begins with a snapshot.
pub(super) fn stream(
    broker: &Broker,
    caller: &Caller,
    heartbeat_interval: Duration,
    draining: CancellationToken,
) -> impl Stream<Item = Result<WatchReadersResponse, Status>> + Send + use<> {
    let watcher = Watcher {
        visible: broker.watch(caller),
        known: None,
        epoch: broker.epoch().to_owned(),
        heartbeat_interval,
        draining,
    };
    futures_util::stream::unfold(Some(watcher), |watcher| async {
        let mut watcher = watcher?;
        match watcher.next_event().await {
            Ok(event) => {
                let response = WatchReadersResponse { event: Some(event), resume_token: watcher.epoch.clone() };
                Some((Ok(response), Some(watcher)))
            }
            Err(failure) => Some((Err(to_status(&failure, None)), None)),
        }
    })
}

struct Watcher {
    visible: VisibleReaders,
    /// What the watcher was told last.
    known: Option<Arc<View>>,
    epoch: String,
    heartbeat_interval: Duration,
    draining: CancellationToken,
}

impl Watcher {
    async fn next_event(&mut self) -> Result<Event, Failure> {
        let heartbeat = Instant::now() + self.heartbeat_interval;
        loop {
            let latest = self.visible.look();
            match self.known.replace(Arc::clone(&latest)) {
                None => return Ok(Event::Snapshot(ReadersSnapshot { readers: readers(&latest) })),
                Some(known) => {
                    if let Some(change) = difference(&known, &latest) {
                        return Ok(Event::Change(change));
                    }
                }
            }
            tokio::select! {
                biased;
                () = self.draining.cancelled() => return Err(stopping()),
                changed = self.visible.changed() => changed.map_err(|_| stopping())?,
                () = sleep_until(heartbeat) => {
                    let send_time = Some(SystemTime::now().into());
                    return Ok(Event::Heartbeat(WatchHeartbeat { send_time }));
                }
            }
        }
    }
}

/// What a watcher who knows `known` must be told; `None` if nothing.
fn difference(known: &View, latest: &View) -> Option<ReadersChange> {
    let is_known = |name: &str, reader| known.get(name).is_some_and(|known| Arc::ptr_eq(known, reader));
    let updated: Vec<_> =
        latest.iter().filter(|(name, reader)| !is_known(name, reader)).map(|(_, reader)| wire_reader(reader)).collect();
    let removed_names: Vec<_> = known.keys().filter(|name| !latest.contains_key(*name)).cloned().collect();
    (!updated.is_empty() || !removed_names.is_empty()).then_some(ReadersChange { updated, removed_names })
}

/// Why a stream ends that would never end by itself.
pub(super) fn stopping() -> Failure {
    Failure::not_sent(Reason::ShuttingDown, "the broker is stopping: watch again when it is back")
}
