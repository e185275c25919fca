//! Units that repeat themselves after a lost connection.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use cardbroker_client::{Delivery, Error, ErrorReason};
use cardbroker_proto::v1::{TransmitRequest, TransmitResponse, UnitStop};
use tonic::Status;

use crate::{
    broker::{FakeBroker, empty, result},
    library::{client, soon},
    script::{failure, refusal},
};

const SELECT: [u8; 4] = [0x00, 0xA4, 0x04, 0x0C];

/// Loses so many calls without a word, then answers by `answer`.
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

fn refused() -> Result<TransmitResponse, Status> {
    Err(refusal(ErrorReason::InsertionChanged, Delivery::NotSent, "another card"))
}

fn insertion(request: &TransmitRequest) -> &str {
    request.turn.as_ref().map(|turn| turn.if_insertion_id.as_str()).unwrap_or_default()
}

#[tokio::test]
async fn a_repeatable_unit_comes_back_under_the_same_fresh_id_until_its_outcome_is_told() {
    let broker = losing(3, done);
    let client = client(&broker).await;
    assert!(soon(client.transmit("readers/desk").command(SELECT).repeatable().send()).await.unwrap().replayed);
    soon(client.transmit("readers/desk").command(SELECT).repeatable().send()).await.unwrap();
    let record = broker.record();
    let ids: Vec<_> = record.transmits.iter().map(|request| &request.request_id[..]).collect();
    assert_eq!((ids.len(), ids[0].len()), (5, 16));
    assert!(ids[..4].iter().all(|id| *id == ids[0]) && ids[4] != ids[0]);
    assert!(record.transmits.iter().all(|request| insertion(request) == "first"), "all run on the same insertion");
}

#[tokio::test]
async fn an_id_of_ones_own_is_kept() {
    let broker = losing(1, done);
    let unit = client(&broker).await.transmit("readers/desk").command(SELECT).request_id([7; 16]).repeatable();
    soon(unit.send()).await.unwrap();
    assert!(broker.record().transmits.iter().all(|request| request.request_id == [7; 16]));
}

#[tokio::test]
async fn the_users_word_on_the_card_comes_before_the_readers() {
    let broker = losing(1, done);
    let client = client(&broker).await;
    let unit = || client.transmit("readers/desk").command(SELECT).repeatable();
    soon(unit().if_insertion_id("mine").send()).await.unwrap();
    assert!(broker.record().transmits.iter().all(|request| insertion(request) == "mine"));

    let broker = losing(1, done);
    let unit = self::client(&broker).await.transmit("readers/desk").command(SELECT).repeatable().on_any_card();
    soon(unit.send()).await.unwrap();
    assert!(broker.record().transmits.iter().all(|request| insertion(request).is_empty()));
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
    let error = soon(unit().deadline(Duration::from_millis(20)).send()).await.unwrap_err();
    assert_eq!((error.delivery(), broker.record().transmits.len()), (Delivery::Unknown, 5));
}

#[tokio::test]
async fn a_refused_repeat_says_nothing_of_the_first_attempt() {
    let error = soon(client(&losing(1, refused)).await.transmit("readers/desk").command(SELECT).repeatable().send())
        .await
        .unwrap_err();
    assert_eq!((error.reason(), error.delivery()), (None, Delivery::Unknown));
    let error = soon(client(&losing(0, refused)).await.transmit("readers/desk").command(SELECT).repeatable().send())
        .await
        .unwrap_err();
    assert_eq!((error.reason(), error.delivery()), (Some(ErrorReason::InsertionChanged), Delivery::NotSent));
}

fn stopped() -> Result<TransmitResponse, Status> {
    let failure = failure(ErrorReason::StatusWord, Delivery::NotSent, "why");
    let stopped = Some(UnitStop { index: 1, failure: Some(failure) });
    Ok(TransmitResponse { results: vec![result(&[], 0x6982)], stopped, ..TransmitResponse::default() })
}

#[tokio::test]
async fn the_answers_of_a_unit_that_stopped_come_with_a_repeat_too() {
    let broker = losing(1, stopped);
    let unit = client(&broker).await.transmit("readers/desk").commands([SELECT, SELECT]).repeatable();
    let Err(Error::Stopped { partial, .. }) = soon(unit.send()).await else { panic!("the outcome is lost") };
    assert_eq!(partial.results[0].status_word, 0x6982);
}

#[tokio::test]
async fn a_broker_that_is_away_for_a_moment_is_found_again() {
    let mut broker = FakeBroker::start({
        let first = AtomicUsize::new(0);
        move |_| (first.fetch_add(1, Ordering::Relaxed) > 0).then(done)
    });
    let client = client(&broker).await;
    let call = tokio::spawn(client.transmit("readers/desk").command(SELECT).repeatable().send());
    soon(async {
        while broker.record().transmits.is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    broker.restart();
    assert!(soon(call).await.unwrap().unwrap().replayed);
}

#[tokio::test]
async fn a_unit_that_is_not_repeatable_is_sent_once() {
    let broker = losing(1, done);
    let error = soon(client(&broker).await.transmit("readers/desk").command(SELECT).send()).await.unwrap_err();
    assert!(matches!(error, Error::Failed(_)));
    assert_eq!(broker.record().transmits.len(), 1);
}
