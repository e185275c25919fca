//! Bodies of requests, chunk by chunk, with a clock that stands still.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use tokio::time::Instant;
use tonic::{Code, Status, body::Body};

use super::{
    body::{MeteredBody, refusal},
    budget::{Budgets, Standing},
};
use crate::{
    caller::Principal,
    error::{Delivery, Reason},
};

const USER: Principal = Principal::User(1001);

/// A body whose client has sent these chunks, and sends no more; or has ended it, after the last one.
struct Sent {
    chunks: VecDeque<Vec<u8>>,
    ended: bool,
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.chunks.pop_front() {
            Some(chunk) => Poll::Ready(Some(Ok(Frame::data(chunk.into())))),
            None if self.ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

fn metered(budgets: &Budgets, streams: bool, chunks: &[&[u8]], ended: bool) -> MeteredBody {
    let chunks = chunks.iter().map(|chunk| chunk.to_vec()).collect();
    MeteredBody::new(Body::new(Sent { chunks, ended }), streams, USER, Standing::Stranger, budgets.clone())
}

/// The chunks that come out of a body, and the status that ends it, if one does.
async fn read(body: &mut MeteredBody) -> (usize, Option<Status>) {
    let mut chunks = 0;
    loop {
        match poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
            Some(Ok(_)) => chunks += 1,
            Some(Err(status)) => return (chunks, Some(status)),
            None => return (chunks, None),
        }
    }
}

fn header(length: u32) -> Vec<u8> {
    [&[0][..], &length.to_be_bytes()].concat()
}

#[tokio::test(start_paused = true)]
async fn a_request_that_ends_in_time_passes() {
    let budgets = Budgets::default();
    let mut body = metered(&budgets, false, &[&header(3), &[1, 2], &[3]], true);
    assert!(matches!(read(&mut body).await, (3, None)));
}

#[tokio::test(start_paused = true)]
async fn a_message_beyond_the_budget_is_refused_before_it_is_handed_on() {
    let budgets = Budgets::default();
    let mut first = metered(&budgets, false, &[&header(200 << 10)], false);
    let mut second = metered(&budgets, false, &[&header(100 << 10)], false);
    let reading = tokio::spawn(async move { read(&mut first).await });
    tokio::task::yield_now().await;
    let (chunks, status) = read(&mut second).await;
    let failure = refusal(&status.unwrap()).unwrap();
    assert_eq!((chunks, failure.reason, failure.delivery), (0, Reason::QueueFull, Delivery::NotSent));
    reading.abort();
    assert!(reading.await.is_err());
    drop(second);
    let mut third = metered(&budgets, false, &[&header(200 << 10), &vec![0; 200 << 10]], true);
    assert!(matches!(read(&mut third).await, (2, None)), "the first has given its bytes back");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_end_is_refused_after_ten_seconds() {
    let budgets = Budgets::default();
    for chunks in [&[][..], &[&[0][..]], &[&header(5)[..], &[1]], &[&header(1)[..], &[1]]] {
        let begun = Instant::now();
        let (_, status) = read(&mut metered(&budgets, false, chunks, false)).await;
        let status = status.unwrap();
        assert_eq!((begun.elapsed(), status.code()), (Duration::from_secs(10), Code::ResourceExhausted));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_may_be_silent_between_its_messages_but_not_within_one() {
    let budgets = Budgets::default();
    for chunks in [&[][..], &[&header(1)[..], &[1]], &[&header(0)]] {
        let mut body = metered(&budgets, true, chunks, false);
        assert!(tokio::time::timeout(Duration::from_secs(3_600), read(&mut body)).await.is_err());
    }
    let begun = Instant::now();
    let (_, status) = read(&mut metered(&budgets, true, &[&header(1)[..], &[1], &header(2), &[1]], false)).await;
    assert_eq!(begun.elapsed(), Duration::from_secs(10));
    assert!(refusal(&status.unwrap()).is_some());
}

#[test]
fn another_error_of_the_body_is_no_refusal() {
    assert_eq!(refusal(&Status::cancelled("gone")), None);
}
