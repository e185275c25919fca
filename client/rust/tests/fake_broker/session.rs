//! Sessions in the library: order, failures, ends, and the messages that the broker receives.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use cardbroker_client::{
    CardReset, Client, Command, ConnectOptions, Delivery, Error, ErrorReason, GROUP_METADATA, Session,
};
use cardbroker_proto::v1::{OpenSessionRequest, open_session_request::Request};
use tonic::Status;

use crate::{
    library::{client, soon},
    support::{
        FakeBroker, apdu,
        script::{
            Say, agreeable, end, failed, heartbeat, opened, reset_done, transmit_id, transmitted, turns_ahead, waiters,
        },
    },
};

const SELECT: [u8; 4] = [0x00, 0xA4, 0x04, 0x0C];

/// A session in which `answer` answers each message with commands, given its id.
async fn session(answer: impl Fn(i64) -> Vec<Say> + Send + Sync + 'static) -> (FakeBroker, Session) {
    let broker = FakeBroker::with_sessions(move |request| match transmit_id(request) {
        Some(id) => answer(id),
        None => agreeable(request),
    });
    let session = soon(client(&broker).await.open_session("readers/desk").open()).await.unwrap();
    (broker, session)
}

fn raw(apdu: &[u8]) -> Command {
    Command::new(apdu).raw()
}

async fn until(mut condition: impl FnMut() -> bool) {
    soon(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

fn reason_and_delivery<T: std::fmt::Debug>(outcome: Result<T, Error>) -> (Option<ErrorReason>, Delivery) {
    let error = outcome.unwrap_err();
    (error.reason(), error.delivery())
}

#[tokio::test]
async fn commands_are_answered_and_close_ends_gracefully() {
    let broker = FakeBroker::answering(b"");
    let session = soon(client(&broker).await.open_session("readers/desk").open()).await.unwrap();
    assert_eq!((session.insertion_id(), session.state_tag(), session.atr()), ("first", "tag", &[0x3B, 0x80][..]));
    let answered = soon(session.transmit([&SELECT[..], b"\x00\xB0\x00\x00\x02"].map(raw)).send()).await.unwrap();
    assert_eq!((&answered.results[1].data[..], answered.results[1].status_word), (&[0x00, 0xB0][..], 0x9000));
    assert_eq!(soon(session.reset(CardReset::Cold).send()).await.unwrap(), [0x3B, 0x81]);
    soon(session.close()).await.unwrap();

    let record = broker.record();
    let [_, transmit, reset] = &record.session_requests[..] else { panic!("{:?}", record.session_requests) };
    let Some(Request::Transmit(transmit)) = &transmit.request else { panic!("{transmit:?}") };
    assert_eq!((transmit.id, apdu(&transmit.commands[1]).raw), (1, true));
    let Some(Request::Reset(reset)) = &reset.request else { panic!("{reset:?}") };
    assert_eq!((reset.id, reset.reset()), (2, CardReset::Cold));
    assert_eq!(record.half_closed, [true]);
}

#[tokio::test]
async fn a_dropped_session_is_reset_not_half_closed() {
    let (broker, session) = session(|_| Vec::new()).await;
    // Waits for an answer that will not come.
    assert!(tokio::time::timeout(Duration::from_millis(20), session.transmit([SELECT]).send()).await.is_err());
    drop(session);
    until(|| !broker.record().half_closed.is_empty()).await;
    assert_eq!(broker.record().half_closed, [false]);
}

#[tokio::test]
async fn a_wait_that_is_dropped_is_reset_too() {
    let broker = FakeBroker::with_sessions(|_| vec![turns_ahead(3)]);
    let open = client(&broker).await.open_session("readers/desk");
    assert!(tokio::time::timeout(Duration::from_millis(50), open.open()).await.is_err());
    until(|| !broker.record().half_closed.is_empty()).await;
    assert_eq!(broker.record().half_closed, [false]);
}

#[tokio::test]
async fn opening_reports_the_queue_and_sends_group_but_no_deadline() {
    let broker = FakeBroker::with_sessions(|_| vec![turns_ahead(2), heartbeat(), turns_ahead(1), opened()]);
    let options = ConnectOptions { group: Some("5f2c".into()), ..ConnectOptions::default() };
    let client = Client::connect_with(broker.endpoint(), options).await.unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = seen.clone();
    let open = client.open_session("readers/desk").on_queue_position(move |ahead| told.lock().unwrap().push(ahead));
    let _session = soon(open.open()).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [2, 1]);

    let record = broker.record();
    assert_eq!(record.metadata[0].get(GROUP_METADATA).unwrap(), "5f2c");
    assert!(record.metadata[0].get("grpc-timeout").is_none());
}

#[tokio::test]
async fn a_refused_session_gives_the_reason() {
    let broker = FakeBroker::with_sessions(|_| vec![end(ErrorReason::QueueTimeout)]);
    let outcome = soon(client(&broker).await.open_session("readers/desk").open()).await;
    assert_eq!(reason_and_delivery(outcome), (Some(ErrorReason::QueueTimeout), Delivery::NotSent));
}

#[tokio::test]
async fn pipelined_commands_stay_in_order_with_32_unanswered_at_most() {
    let held = Mutex::new(Vec::new());
    let (broker, session) = session(move |id| {
        let mut held = held.lock().unwrap();
        held.push(id);
        // Holds all answers back until the window is full, and the rest until the last message.
        match held.len() {
            32 | 8 if id == 32 || id == 40 => held.drain(..).map(|id| transmitted(id, Vec::new())).collect(),
            _ => Vec::new(),
        }
    })
    .await;
    let session = Arc::new(session);
    let mut calls = tokio::task::JoinSet::new();
    let answered = Arc::new(Mutex::new(0));
    for _ in 0..40 {
        let (session, answered) = (session.clone(), answered.clone());
        calls.spawn(async move {
            session.transmit([SELECT]).send().await.unwrap();
            *answered.lock().unwrap() += 1;
        });
    }
    soon(calls.join_all()).await;
    assert_eq!(*answered.lock().unwrap(), 40);
    let record = broker.record();
    assert_eq!(
        record.session_requests.iter().filter_map(transmit_id).collect::<Vec<_>>(),
        (1..=40).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn after_a_reported_failure_the_next_call_goes_on() {
    let (broker, session) = session(|id| match id {
        // The first answer waits until the second message is on its way as well.
        1 => Vec::new(),
        2 => vec![failed(1, ErrorReason::Denied), failed(2, ErrorReason::PrecedingFailed)],
        id => vec![transmitted(id, Vec::new())],
    })
    .await;
    let (first, second) =
        soon(async { tokio::join!(session.transmit([SELECT]).send(), session.transmit([SELECT]).send()) }).await;
    assert_eq!(first.unwrap_err().to_string(), "why it failed");
    assert_eq!(reason_and_delivery(second), (Some(ErrorReason::PrecedingFailed), Delivery::NotSent));
    assert!(session.is_open());
    for _ in 0..2 {
        soon(session.transmit([SELECT]).send()).await.unwrap();
    }
    let restarts = broker.record().session_requests.iter().map(|request| request.restart).collect::<Vec<_>>();
    assert_eq!(restarts, [false, false, false, true, false]);
}

#[tokio::test]
async fn the_broker_reports_the_number_of_waiters() {
    let (_broker, session) = session(|id| vec![waiters(3), heartbeat(), waiters(2), transmitted(id, Vec::new())]).await;
    assert_eq!(session.waiters(), 0);
    soon(session.transmit([SELECT]).send()).await.unwrap();
    assert_eq!(session.waiters(), 2);
}

#[tokio::test]
async fn the_final_status_concerns_messages_the_broker_has_not_read() {
    let (_broker, session) =
        session(|id| vec![failed(id, ErrorReason::CardRemoved), end(ErrorReason::CardRemoved)]).await;
    for _ in 0..3 {
        let outcome = soon(session.transmit([SELECT]).send()).await;
        assert_eq!(reason_and_delivery(outcome), (Some(ErrorReason::CardRemoved), Delivery::NotSent));
    }
    assert!(!session.is_open());
    assert_eq!(soon(session.close()).await.unwrap_err().reason(), Some(ErrorReason::CardRemoved));
}

#[tokio::test]
async fn an_end_without_details_means_unknown_delivery() {
    let (_broker, session) = session(|_| vec![Err(Status::unavailable("a proxy says so"))]).await;
    let outcome = soon(session.transmit([SELECT]).send()).await;
    assert_eq!(reason_and_delivery(outcome), (None, Delivery::Unknown));
    let outcome = soon(session.transmit([SELECT]).send()).await;
    assert_eq!(reason_and_delivery(outcome), (None, Delivery::NotSent), "it never left this program");
}

#[tokio::test]
async fn the_next_call_after_an_idle_revocation_reports_it() {
    let broker = FakeBroker::with_sessions(|_| vec![opened(), end(ErrorReason::LeaseRevoked)]);
    let session = soon(client(&broker).await.open_session("readers/desk").open()).await.unwrap();
    until(|| !session.is_open()).await;
    let outcome = soon(session.reset(CardReset::Warm).send()).await;
    assert_eq!(reason_and_delivery(outcome), (Some(ErrorReason::LeaseRevoked), Delivery::NotSent));
}

#[tokio::test]
async fn after_a_lost_connection_only_sent_commands_are_unknown() {
    let (mut broker, session) = session(|_| Vec::new()).await;
    let session = Arc::new(session);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..34 {
        let session = session.clone();
        calls.spawn(async move { session.transmit([SELECT]).send().await.unwrap_err().delivery() });
    }
    until(|| broker.record().session_requests.len() == 33).await;
    broker.stop();
    let deliveries = soon(calls.join_all()).await;
    let unknown = deliveries.iter().filter(|&&delivery| delivery == Delivery::Unknown).count();
    assert_eq!((unknown, deliveries.len()), (32, 34));
    assert_eq!(reason_and_delivery(soon(session.reset(CardReset::Warm).send()).await), (None, Delivery::NotSent));
}

#[tokio::test]
async fn answers_out_of_order_are_rejected() {
    let (_broker, session) = session(|id| vec![transmitted(id + 1, Vec::new())]).await;
    let outcome = soon(session.transmit([SELECT]).send()).await;
    assert_eq!(reason_and_delivery(outcome), (None, Delivery::Unknown));
    let (_broker, session) = self::session(|id| vec![reset_done(id)]).await;
    let outcome = soon(session.transmit([SELECT]).send()).await;
    assert_eq!(reason_and_delivery(outcome), (None, Delivery::Unknown));
}

#[tokio::test]
async fn malformed_commands_are_refused_locally_and_the_session_survives() {
    let (broker, session) = session(|id| vec![transmitted(id, Vec::new())]).await;
    for commands in [Vec::new(), vec![vec![0; 3]], vec![vec![0; 65_544]; 16]] {
        let outcome = soon(session.transmit(commands).send()).await;
        assert_eq!(reason_and_delivery(outcome), (Some(ErrorReason::InvalidRequest), Delivery::NotSent));
    }
    soon(session.transmit([SELECT]).send()).await.unwrap();
    assert!(matches!(&broker.record().session_requests[..], [_, OpenSessionRequest { restart: false, .. }]));
}
