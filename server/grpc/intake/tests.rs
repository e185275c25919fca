//! Tests of request bodies, chunk by chunk, with a paused clock.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use cardbroker_core::{
    caller::Principal,
    error::{Delivery, Reason},
    user::SystemUser,
};
use cardbroker_proto::DESCRIPTORS;
use http_body::{Body as HttpBody, Frame};
use prost_types::FileDescriptorSet;
use tokio::{
    sync::mpsc,
    time::{Instant, advance, timeout},
};
use tonic::{
    Code, Status, Streaming,
    body::Body,
    codec::{DecodeBuf, Decoder},
};

use super::{
    CLIENT_STREAMS,
    body::{BodyFailure, MeteredBody},
    budget::{Budgets, Entitlement},
};

const USER: Principal = Principal::User(SystemUser::unix(1001));
const SECOND: Duration = Duration::from_secs(1);

/// The chunks of a client; dropping the sender ends the body.
struct Sent(mpsc::UnboundedReceiver<Vec<u8>>);

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_closed() && self.0.is_empty()
    }
}

/// A stream that its client has reset: hyper reports CANCEL as an error, and NO_ERROR as an end.
struct Reset(Option<Status>);

impl HttpBody for Reset {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(self.0.take().map(Err))
    }
}

/// A decoder that never finds a message.
struct NoMessages;

impl Decoder for NoMessages {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, _: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        Ok(None)
    }
}

/// A body, its client, and the reason why it was not read to its end.
struct Scene {
    body: MeteredBody,
    client: mpsc::UnboundedSender<Vec<u8>>,
    failure: BodyFailure,
}

impl Scene {
    fn new(budgets: &Budgets, streams: bool) -> Self {
        let (client, sent) = mpsc::unbounded_channel();
        let (body, failure) = (Body::new(Sent(sent)), BodyFailure::default());
        let body = MeteredBody::new(body, streams, USER, Entitlement::Stranger, budgets.clone(), failure.clone());
        Self { body, client, failure }
    }

    fn sends(&self, chunk: &[u8]) {
        self.client.send(chunk.to_vec()).unwrap();
    }

    /// The next chunk, the status that ends the body, or neither.
    async fn next(&mut self) -> Option<Result<(), Status>> {
        let frame = poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await;
        frame.map(|frame| frame.map(drop))
    }

    async fn passes(&mut self, chunk: &[u8]) {
        self.sends(chunk);
        assert!(matches!(self.next().await, Some(Ok(()))));
    }

    /// The reason of a failure that must come.
    async fn fails(&mut self) -> Reason {
        let status = self.next().await.unwrap().unwrap_err();
        let failure = self.failure.get().unwrap();
        assert_eq!(failure.delivery, Delivery::NotSent);
        assert!(matches!(status.code(), Code::ResourceExhausted | Code::InvalidArgument));
        failure.reason
    }
}

fn header(length: u32) -> Vec<u8> {
    [&[0][..], &length.to_be_bytes()].concat()
}

#[tokio::test(start_paused = true)]
async fn a_request_that_ends_in_time_passes() {
    let mut scene = Scene::new(&Budgets::default(), false);
    for chunk in [&header(3)[..], &[1, 2], &[3]] {
        scene.passes(chunk).await;
    }
    let Scene { mut body, client, failure } = scene;
    drop(client);
    assert!(poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await.is_none());
    assert_eq!(failure.get().unwrap().reason, Reason::InvalidRequest, "only the decoder can fail now");
}

#[tokio::test]
async fn a_reset_stream_differs_from_one_that_ended_normally() {
    async fn is_lost(body: impl HttpBody<Data = Bytes, Error = Status> + Send + 'static) -> bool {
        let failure = BodyFailure::default();
        let budgets = Budgets::default();
        let body = MeteredBody::new(Body::new(body), true, USER, Entitlement::Stranger, budgets, failure.clone());
        let mut messages = Streaming::new_request(NoMessages, body, None, None);
        assert_eq!(messages.message().await.unwrap(), None, "tonic reports no difference");
        failure.is_lost()
    }
    let (client, sent) = mpsc::unbounded_channel();
    drop(client);
    assert!(!is_lost(Sent(sent)).await);
    assert!(is_lost(Reset(Some(Status::cancelled("reset")))).await);
    assert!(is_lost(Reset(None)).await);
}

#[tokio::test(start_paused = true)]
async fn a_message_beyond_the_budget_is_refused_before_decoding() {
    let budgets = Budgets::default();
    let (mut first, mut second) = (Scene::new(&budgets, false), Scene::new(&budgets, false));
    first.passes(&header(200 << 10)).await;
    second.sends(&header(100 << 10));
    assert_eq!(second.fails().await, Reason::QueueFull);
    // One field of bytes, whose length is a varint of three bytes.
    let mut message = vec![0; 200 << 10];
    message[..4].copy_from_slice(&[0x0A, 0xFC, 0xBF, 0x0C]);
    first.passes(&message).await;
    let mut third = Scene::new(&budgets, false);
    third.sends(&header(100 << 10));
    assert_eq!(third.fails().await, Reason::QueueFull, "the first is whole, but has not ended");
    drop(first);
    Scene::new(&budgets, false).passes(&header(200 << 10)).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_longer_than_any_request_is_refused() {
    let mut scene = Scene::new(&Budgets::default(), false);
    scene.sends(&header(1 + (1 << 20)));
    assert_eq!(scene.fails().await, Reason::InvalidRequest);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_end_is_refused_after_ten_seconds() {
    for chunks in [&[][..], &[&[0][..]], &[&header(5)[..], &[1]], &[&header(1)[..], &[1]]] {
        let (begun, mut scene) = (Instant::now(), Scene::new(&Budgets::default(), false));
        for chunk in chunks {
            scene.passes(chunk).await;
        }
        assert_eq!((scene.fails().await, begun.elapsed()), (Reason::QueueFull, 10 * SECOND));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_single_bytes_has_ten_seconds_in_total() {
    let (begun, mut scene) = (Instant::now(), Scene::new(&Budgets::default(), true));
    scene.passes(&header(100)).await;
    for _ in 0..9 {
        assert!(timeout(SECOND, scene.next()).await.is_err());
        scene.passes(&[1]).await;
    }
    assert_eq!((scene.fails().await, begun.elapsed()), (Reason::QueueFull, 10 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_stream_may_be_silent_between_its_messages() {
    for chunks in [&[][..], &[&header(1)[..], &[1]], &[&header(0)]] {
        let mut scene = Scene::new(&Budgets::default(), true);
        for chunk in chunks {
            scene.passes(chunk).await;
        }
        assert!(timeout(3_600 * SECOND, scene.next()).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn every_message_of_a_stream_has_ten_seconds_of_its_own() {
    let mut scene = Scene::new(&Budgets::default(), true);
    scene.passes(&header(1)).await;
    for _ in 0..5 {
        assert!(timeout(8 * SECOND, scene.next()).await.is_err());
        // The end of one message, and the header of the next.
        scene.passes(&[&[7][..], &header(1)].concat()).await;
    }
    let begun = Instant::now();
    assert_eq!((scene.fails().await, begun.elapsed()), (Reason::QueueFull, 10 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn time_without_a_reader_does_not_count_for_the_client() {
    let mut scene = Scene::new(&Budgets::default(), true);
    scene.passes(&header(3)).await;
    assert!(timeout(SECOND, scene.next()).await.is_err());
    scene.sends(&[1]);
    advance(60 * SECOND).await;
    assert!(matches!(scene.next().await, Some(Ok(()))), "it had come long before");
    let begun = Instant::now();
    assert_eq!((scene.fails().await, begun.elapsed()), (Reason::QueueFull, 9 * SECOND));
}

#[test]
fn every_method_with_a_stream_of_requests_is_known() {
    use prost::Message;

    let sets = [DESCRIPTORS, tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET];
    let files = sets.iter().flat_map(|set| FileDescriptorSet::decode(*set).unwrap().file);
    let mut streams = Vec::new();
    for file in files {
        for service in &file.service {
            let methods = service.method.iter().filter(|method| method.client_streaming());
            streams.extend(methods.map(|method| format!("/{}.{}/{}", file.package(), service.name(), method.name())));
        }
    }
    assert!(streams.len() >= 2, "{streams:?}");
    let unknown: Vec<_> = streams.iter().filter(|stream| !CLIENT_STREAMS.contains(&stream.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
