//! `WatchReaders`: a snapshot, or the changes since an earlier stream, then the changes since the previous message. The
//! connection pulls the stream, so a slow watcher gets several changes in one message and delays nobody.

use std::time::{Duration, SystemTime};

use cardbroker_core::error::{Failure, Reason};
use cardbroker_proto::v1::{
    ReadersChange, ReadersSnapshot, WatchHeartbeat, WatchReadersRequest, WatchReadersResponse,
    watch_readers_response::Event,
};
use futures_core::Stream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    heartbeat::Heartbeat,
    readers::{readers, wire_reader},
    status::to_status,
};
use crate::broker::{ReaderWatch, ReadersNews};

const MAX_TOKEN_CHARACTERS: usize = 128;

/// Checks the resume token of a request.
///
/// # Errors
/// [`Reason::InvalidRequest`] for a token that this broker cannot have created.
pub(super) fn check(request: &WatchReadersRequest) -> Result<(), Failure> {
    if request.resume_token.chars().count() > MAX_TOKEN_CHARACTERS {
        return Err(Failure::invalid(
            "resume_token",
            "longer than 128 characters: send the token that the broker returned, unchanged",
        ));
    }
    Ok(())
}

/// Returns the stream of one watcher.
pub(super) fn stream(
    readers: ReaderWatch,
    heartbeat_interval: Duration,
    draining: CancellationToken,
) -> impl Stream<Item = Result<WatchReadersResponse, Status>> + Send + use<> {
    let (watcher, heartbeat) = (Watcher { readers, draining }, Heartbeat::new(heartbeat_interval));
    futures_util::stream::unfold(Some((watcher, heartbeat)), |state| async {
        let (mut watcher, mut heartbeat) = state?;
        let silence = || Ok(Event::Heartbeat(WatchHeartbeat { send_time: Some(SystemTime::now().into()) }));
        match heartbeat.next_or_silence(watcher.next_event()).await.unwrap_or_else(silence) {
            Ok(event) => {
                let resume_token = watcher.readers.resume_token();
                Some((Ok(WatchReadersResponse { event: Some(event), resume_token }), Some((watcher, heartbeat))))
            }
            Err(failure) => Some((Err(to_status(&failure, None)), None)),
        }
    })
}

struct Watcher {
    readers: ReaderWatch,
    draining: CancellationToken,
}

impl Watcher {
    /// Returns the news for the watcher. Cancel-safe: news are taken and returned without an await between.
    async fn next_event(&mut self) -> Result<Event, Failure> {
        loop {
            if let Some(news) = self.readers.news() {
                return Ok(event(news));
            }
            tokio::select! {
                biased;
                () = self.draining.cancelled() => return Err(stopping()),
                changed = self.readers.changed() => changed.map_err(|_| stopping())?,
            }
        }
    }
}

fn event(news: ReadersNews) -> Event {
    match news {
        ReadersNews::All(list) => Event::Snapshot(ReadersSnapshot { readers: readers(&list) }),
        ReadersNews::Changed(difference) => Event::Change(ReadersChange {
            updated: difference.updated.iter().map(|reader| wire_reader(reader)).collect(),
            removed_names: difference.removed.iter().map(|name| name.to_string()).collect(),
        }),
    }
}

/// The failure that ends an endless stream at the shutdown.
pub(super) fn stopping() -> Failure {
    Failure::not_sent(Reason::ShuttingDown, "the broker is stopping: watch again when it is back")
}
