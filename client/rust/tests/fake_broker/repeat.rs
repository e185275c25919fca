//! Units that are repeated after a lost connection: the cases that the conformance kit does not cover.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use cardbroker_client::{Delivery, Error, ErrorReason};
use cardbroker_proto::{
    reason::DELIVERY_TRAILER,
    v1::{TransmitResponse, UnitStop},
};
use tonic::Status;

use crate::{
    library::{client, soon},
    support::{FakeBroker, empty, result, script::failure},
};

const SELECT: [u8; 4] = [0x00, 0xA4, 0x04, 0x0C];

/// Loses `count` calls without an answer, then answers by `answer`.
fn losing(count: usize, answer: fn() -> Result<TransmitResponse, Status>) -> FakeBroker {
    let lost = AtomicUsize::new(0);
    FakeBroker::start(move |_| {
        let lose = lost.fetch_add(1, Ordering::Relaxed) < count;
        Some(if lose { Err(Status::unavailable("the connection broke")) } else { answer() })
    })
}

fn done() -> Result<TransmitResponse, Status> {
    Ok(TransmitResponse { replayed: true, ..TransmitResponse::default() })
}

#[tokio::test]
async fn a_unit_for_an_empty_reader_is_not_repeated() {
    let broker = losing(1, done);
    broker.set_readers(vec![empty()]);
    let unit = client(&broker).await.transmit("pcd-00-00").command(SELECT).wait_for_card().repeatable();
    assert_eq!(soon(unit.send()).await.unwrap_err().delivery(), Delivery::Unknown);
    assert_eq!(broker.record().transmits.len(), 1);
}

#[tokio::test]
async fn repeats_are_few_and_end_with_the_deadline() {
    let broker = losing(usize::MAX, done);
    let client = client(&broker).await;
    let unit = || client.transmit("readers/desk").command(SELECT).repeatable();
    let error = soon(unit().send()).await.unwrap_err();
    assert_eq!((error.delivery(), broker.record().transmits.len()), (Delivery::Unknown, 4));
    // Before the first pause is over, which takes 50 ms at least.
    let error = soon(unit().deadline(Duration::from_millis(45)).send()).await.unwrap_err();
    assert_eq!((error.delivery(), broker.record().transmits.len()), (Delivery::Unknown, 5));
}

fn stopped() -> Result<TransmitResponse, Status> {
    let failure = failure(ErrorReason::StatusWord, Delivery::NotSent, "why");
    let stopped = Some(UnitStop { index: 1, failure: Some(failure) });
    Ok(TransmitResponse { results: vec![result(&[], 0x6982)], stopped, ..TransmitResponse::default() })
}

#[tokio::test]
async fn a_repeat_returns_the_results_of_a_stopped_unit() {
    let broker = losing(1, stopped);
    let unit = client(&broker).await.transmit("readers/desk").commands([SELECT, SELECT]).repeatable();
    let Err(Error::Stopped { partial, .. }) = soon(unit.send()).await else { panic!("the outcome is lost") };
    assert_eq!(partial.results[0].status_word, 0x6982);
}

#[tokio::test]
async fn repeats_end_after_half_of_the_outcome_lifetime() {
    // The first repeat comes after 50 ms at the earliest, the last one after 350 ms.
    for (lifetime, most) in [(0, 1), (100, 1), (400, 3)] {
        let broker = losing(usize::MAX, done);
        broker.keep_outcomes_for(Duration::from_millis(lifetime));
        let unit = client(&broker).await.transmit("readers/desk").command(SELECT).repeatable();
        assert_eq!(soon(unit.send()).await.unwrap_err().delivery(), Delivery::Unknown);
        let sent = broker.record().transmits.len();
        assert!((1..=most).contains(&sent), "{sent} attempts within half of {lifetime} ms");
    }
}

#[tokio::test]
async fn a_delivery_without_a_reason_comes_from_the_broker() {
    let broker = FakeBroker::refusing(|| {
        let mut status = Status::unavailable("it may have run");
        status.metadata_mut().insert(DELIVERY_TRAILER, "unknown".parse().unwrap());
        status
    });
    let unit = client(&broker).await.transmit("readers/desk").command(SELECT).repeatable();
    assert_eq!(soon(unit.send()).await.unwrap_err().delivery(), Delivery::Unknown);
    assert_eq!(broker.record().transmits.len(), 1);
}
