//! The library: errors, times, the group, and the watch through a restart.

use std::{future::Future, io, time::Duration};

use cardbroker_client::{Client, ConnectOptions, Delivery, Error, ErrorReason, GROUP_METADATA, Watch, WatchEvent};
use cardbroker_proto::{
    reason::{DELIVERY_TRAILER, ERROR_DOMAIN, REASON_TRAILER},
    v1::{TransmitResponse, UnitStop},
};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::broker::{FakeBroker, empty, ready, result};

const SELECT: [u8; 4] = [0x00, 0xA4, 0x04, 0x0C];

pub(crate) async fn client(broker: &FakeBroker) -> Client {
    Client::connect_with(broker.endpoint(), ConnectOptions::default()).await.unwrap()
}

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("nothing happened within 20 s")
}

#[tokio::test]
async fn without_a_broker_the_error_says_so_and_nothing_was_sent() {
    let mut broker = FakeBroker::answering(b"");
    let client = client(&broker).await;
    broker.stop();
    let error = Client::connect(broker.endpoint()).await.unwrap_err();
    assert!(matches!(error, Error::NotRunning { kind: io::ErrorKind::NotFound, .. }), "{error:?}");

    let error = client.transmit("readers/desk").command(SELECT).send().await.unwrap_err();
    assert!(matches!(error, Error::NotRunning { .. }), "{error:?}");
    assert_eq!(error.delivery(), Delivery::NotSent);
    assert!(matches!(client.readers().await.unwrap_err(), Error::NotRunning { .. }));

    broker.restart();
    assert_eq!(client.readers().await.unwrap().len(), 2, "the same client finds the broker again");
}

#[tokio::test]
async fn nobody_on_a_tcp_port_is_no_broker_either() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = Client::connect(format!("http://127.0.0.1:{port}").parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, Error::NotRunning { kind: io::ErrorKind::ConnectionRefused, .. }), "{error:?}");
}

#[tokio::test]
async fn an_error_is_read_from_its_details() {
    let broker = FakeBroker::refusing(|| {
        let metadata = [("delivery", "not_sent"), ("reader", "readers/desk")];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let mut details = ErrorDetails::with_error_info("HELD_ELSEWHERE", ERROR_DOMAIN, metadata);
        details.set_retry_info(Some(Duration::from_secs(1)));
        Status::with_error_details(Code::Unavailable, "another program holds the card", details)
    });
    let error = client(&broker).await.transmit("readers/desk").command(SELECT).send().await.unwrap_err();
    assert_eq!(error.reason(), Some(ErrorReason::HeldElsewhere));
    assert_eq!(error.delivery(), Delivery::NotSent);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    assert_eq!(error.to_string(), "another program holds the card");
    let Error::Failed(failure) = error else { panic!("{error:?}") };
    assert_eq!((failure.code, failure.reader.as_deref()), (Code::Unavailable, Some("readers/desk")));
}

#[tokio::test]
async fn an_error_is_read_from_its_trailers_alone() {
    let broker = FakeBroker::refusing(|| {
        let mut status = Status::aborted("the exchange failed");
        status.metadata_mut().insert(REASON_TRAILER, "CARD_LOST".parse().unwrap());
        status.metadata_mut().insert(DELIVERY_TRAILER, "unknown".parse().unwrap());
        status
    });
    let error = client(&broker).await.transmit("readers/desk").command(SELECT).send().await.unwrap_err();
    assert_eq!((error.reason(), error.delivery()), (Some(ErrorReason::CardLost), Delivery::Unknown));
}

#[tokio::test]
async fn a_unit_that_stopped_is_an_error_with_the_answers_attached() {
    let broker = FakeBroker::start(|_| {
        let stop = UnitStop {
            index: 1,
            reason: ErrorReason::CardRemoved.into(),
            delivery: Delivery::Unknown.into(),
            message: "the card was removed".into(),
        };
        let results = vec![result(b"\x01\x02", 0x9000)];
        Some(Ok(TransmitResponse { results, stopped: Some(stop), ..TransmitResponse::default() }))
    });
    let unit = client(&broker).await.transmit("readers/desk").commands([SELECT, SELECT, SELECT]);
    let error = unit.send().await.unwrap_err();
    assert_eq!(error.to_string(), "stopped at command 2: the card was removed");
    let Error::Stopped { stop, partial } = error else { panic!("{error:?}") };
    assert_eq!((stop.index, stop.reason, stop.delivery), (1, Some(ErrorReason::CardRemoved), Delivery::Unknown));
    assert_eq!((&partial.results[0].data[..], partial.results[0].status_word), (&[1, 2][..], 0x9000));
}

#[tokio::test]
async fn the_wait_ends_before_the_deadline_that_the_broker_is_told() {
    let broker = FakeBroker::answering(b"");
    client(&broker)
        .await
        .transmit("readers/desk")
        .command(SELECT)
        .deadline(Duration::from_secs(10))
        .send()
        .await
        .unwrap();
    let record = broker.record();
    assert_eq!(record.metadata[0].get("grpc-timeout").unwrap(), "10000000u");
    assert_eq!(record.transmits[0].wait_timeout, Some(prost_types::Duration { seconds: 9, nanos: 0 }));
}

#[tokio::test]
async fn a_call_that_outlives_its_deadline_has_an_unknown_fate() {
    let broker = FakeBroker::start(|_| None);
    let unit = client(&broker).await.transmit("readers/desk").command(SELECT).deadline(Duration::from_millis(200));
    let error = soon(unit.send()).await.unwrap_err();
    assert_eq!((error.reason(), error.delivery()), (None, Delivery::Unknown));
    assert_eq!(error.to_string(), "the call's deadline passed without an answer");
}

#[tokio::test]
async fn a_connection_that_is_lost_in_mid_call_leaves_an_unknown_fate() {
    let mut broker = FakeBroker::start(|_| None);
    let client = client(&broker).await;
    let call = tokio::spawn(client.transmit("readers/desk").command(SELECT).send());
    soon(async {
        while broker.record().transmits.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    broker.stop();
    let error = soon(call).await.unwrap().unwrap_err();
    assert_eq!((error.reason(), error.delivery()), (None, Delivery::Unknown));
    assert!(error.to_string().contains("lost"), "{error}");
}

#[tokio::test]
async fn a_malformed_unit_is_refused_without_the_broker() {
    let broker = FakeBroker::answering(b"");
    let client = client(&broker).await;
    for unit in [client.transmit("readers/desk"), client.transmit("readers/desk").command([0x00, 0xA4])] {
        let error = unit.send().await.unwrap_err();
        assert_eq!((error.reason(), error.delivery()), (Some(ErrorReason::InvalidRequest), Delivery::NotSent));
    }
    let huge = client.transmit("readers/desk").commands(vec![vec![0; 65_544]; 17]).send().await.unwrap_err();
    assert!(huge.to_string().contains("1 MiB"), "{huge}");
    assert!(broker.record().transmits.is_empty());
}

#[tokio::test]
async fn the_isolation_group_goes_with_every_call() {
    let broker = FakeBroker::answering(b"");
    let options = ConnectOptions { group: Some("5f2c".into()), ..ConnectOptions::default() };
    let client = Client::connect_with(broker.endpoint(), options).await.unwrap();
    client.transmit("readers/desk").command(SELECT).send().await.unwrap();
    assert_eq!(broker.record().metadata[0].get(GROUP_METADATA).unwrap(), "5f2c");

    let options = ConnectOptions { group: Some("gr\u{fc}n\n".into()), ..ConnectOptions::default() };
    assert!(Client::connect_with(broker.endpoint(), options).await.unwrap_err().to_string().contains("ASCII"));
}

#[tokio::test]
async fn the_watch_finds_the_broker_again_and_tells_what_changed_meanwhile() {
    let mut broker = FakeBroker::answering(b"");
    let mut watch = client(&broker).await.watch();
    assert_eq!(next(&mut watch).await, "connected");
    assert_eq!(next(&mut watch).await, "readers/desk first");
    assert_eq!(next(&mut watch).await, "readers/pcd-00-00 ");
    broker.set_readers(vec![ready("desk", "second"), empty()]);
    assert_eq!(next(&mut watch).await, "readers/desk second");

    broker.stop();
    assert_eq!(next(&mut watch).await, "disconnected");
    assert!(!watch.is_connected() && watch.readers().len() == 2);
    broker.set_readers(vec![ready("desk", "third")]);
    broker.restart();
    assert_eq!(next(&mut watch).await, "connected");
    assert_eq!(next(&mut watch).await, "readers/pcd-00-00 removed");
    assert_eq!(next(&mut watch).await, "readers/desk third");
    assert!(watch.is_connected() && watch.readers().len() == 1);
    assert_eq!(broker.record().resume_tokens, ["", "after-2"]);
}

#[tokio::test]
async fn a_watch_whose_next_is_dropped_again_and_again_loses_nothing() {
    let mut broker = FakeBroker::answering(b"");
    let mut watch = client(&broker).await.watch();
    let mut told = Vec::new();
    soon(async {
        while told.len() < 6 {
            if let Ok(event) = tokio::time::timeout(Duration::from_micros(50), watch.next()).await {
                told.push(tell(event));
                if told.len() == 3 {
                    broker.restart();
                    broker.set_readers(vec![ready("desk", "second"), empty()]);
                }
            }
        }
    })
    .await;
    assert_eq!(told[..3], ["connected", "readers/desk first", "readers/pcd-00-00 "]);
    assert_eq!(told[3..], ["disconnected", "connected", "readers/desk second"]);
}

async fn next(watch: &mut Watch) -> String {
    tell(soon(watch.next()).await)
}

fn tell(event: WatchEvent) -> String {
    match event {
        WatchEvent::Connected => "connected".into(),
        WatchEvent::Disconnected(_) => "disconnected".into(),
        WatchEvent::Updated(reader) => format!("{} {}", reader.name, reader.insertion_id),
        WatchEvent::Removed(reader) => format!("{} removed", reader.name),
    }
}
