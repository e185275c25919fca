//! The answers to repeats of a `request_id`: each is encoded once, and shared by all repeats whose clients have not
//! read it yet. So repeats that nobody reads take no memory of their own.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    task::{Context, Poll},
};

use bytes::Bytes;
use cardbroker_core::outcomes::Outcome;
use cardbroker_proto::v1::TransmitResponse;
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Body as HttpBody, Frame};
use prost::Message;
use tonic::{Status, body::Body};

/// The bytes before a message: a flag that it is not compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// The number of entries up to which dead ones are kept.
const FEW: usize = 64;

/// The encoded answers that are still being sent. Owned by the edge.
#[derive(Default)]
pub(super) struct Replays(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    /// By the address of the outcome, which an entry keeps from being used again.
    by_outcome: HashMap<usize, (Weak<Outcome>, Weak<Encoded>)>,
    /// The number of entries at which the dead ones are removed.
    prune_at: usize,
}

/// A message with its prefix, which has answers of a card.
struct Encoded(Vec<u8>);

/// An answer that takes the place of the response's body. In the extensions of a response.
#[derive(Clone)]
pub(super) struct SharedReply(Bytes);

/// A part of the owner of a [`Bytes`].
struct Owner(Arc<Encoded>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0.0
    }
}

impl Replays {
    /// Returns the answer for `outcome`, which `response` makes if no other repeat is being answered.
    pub(super) fn reply(&self, outcome: &Arc<Outcome>, response: impl FnOnce() -> TransmitResponse) -> SharedReply {
        let key = Arc::as_ptr(outcome) as usize;
        // Every change is a single call, so a panic elsewhere leaves the entries consistent.
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = entries.by_outcome.get(&key).and_then(|(_, encoded)| encoded.upgrade());
        let encoded = known.unwrap_or_else(|| {
            let encoded = Arc::new(Encoded::new(&response()));
            entries.insert(key, (Arc::downgrade(outcome), Arc::downgrade(&encoded)));
            encoded
        });
        SharedReply(Bytes::from_owner(Owner(encoded)))
    }
}

impl Entries {
    fn insert(&mut self, key: usize, entry: (Weak<Outcome>, Weak<Encoded>)) {
        if self.by_outcome.len() >= self.prune_at.max(FEW) {
            self.by_outcome.retain(|_, (_, encoded)| encoded.strong_count() > 0);
            self.prune_at = 2 * self.by_outcome.len();
        }
        self.by_outcome.insert(key, entry);
    }
}

impl Encoded {
    fn new(response: &TransmitResponse) -> Self {
        let length = response.encoded_len();
        let mut bytes = Vec::with_capacity(PREFIX_BYTES + length);
        bytes.push(0);
        bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        response.encode_raw(&mut bytes);
        Self(bytes)
    }
}

/// Puts a shared answer into the place of the body.
pub(super) fn insert(mut response: Response<Body>) -> Response<Body> {
    match response.extensions_mut().remove::<SharedReply>() {
        Some(SharedReply(bytes)) => response.map(|_| Body::new(SharedBody { message: Some(bytes), ends: false })),
        None => response,
    }
}

/// A message, and the trailers of a call that has succeeded.
struct SharedBody {
    message: Option<Bytes>,
    /// Whether the trailers were sent.
    ends: bool,
}

impl HttpBody for SharedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(message) = self.message.take() {
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        if std::mem::replace(&mut self.ends, true) {
            return Poll::Ready(None);
        }
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ends
    }
}

#[cfg(test)]
mod tests {
    use cardbroker_core::error::{Failure, Reason};

    use super::*;

    fn outcome() -> Arc<Outcome> {
        Arc::new(Err(Failure::not_sent(Reason::NoCard, "none")))
    }

    #[test]
    fn unread_repeats_share_one_answer() {
        let (replays, first, other) = (Replays::default(), outcome(), outcome());
        let response = |tag: &str| TransmitResponse { state_tag: tag.into(), ..TransmitResponse::default() };
        let one = replays.reply(&first, || response("one"));
        let again = replays.reply(&first, || panic!("it is encoded already"));
        assert_eq!((one.0.as_ptr(), &one.0[..5]), (again.0.as_ptr(), &[0, 0, 0, 0, 5][..]));
        assert_eq!(TransmitResponse::decode(&one.0[5..]).unwrap(), response("one"));
        assert_ne!(replays.reply(&other, || response("other")).0, one.0);
        drop((one, again));
        let later = replays.reply(&first, || response("later"));
        assert_eq!(
            TransmitResponse::decode(&later.0[5..]).unwrap(),
            response("later"),
            "nobody had the first any more"
        );
    }

    #[test]
    fn answers_that_were_read_leave_no_entries() {
        let replays = Replays::default();
        let outcomes: Vec<_> = (0..1_000).map(|_| outcome()).collect();
        for outcome in &outcomes {
            replays.reply(outcome, TransmitResponse::default);
        }
        assert!(replays.0.lock().unwrap().by_outcome.len() <= FEW);
        let unread: Vec<_> = outcomes.iter().map(|outcome| replays.reply(outcome, TransmitResponse::default)).collect();
        assert!(replays.0.lock().unwrap().by_outcome.len() >= unread.len());
    }
}
