//! The library: errors, times, the group, and the watch through a restart.

use std::{future::Future, time::Duration};

use cardbroker_client::{
    CardRequirement, Client, ConnectOptions, Delivery, Error, ErrorReason, Finding, GROUP_METADATA, Reader, Watch,
    WatchEvent,
};
use tokio_stream::StreamExt;
use tonic::Code;

use crate::support::{FakeBroker, empty, ready};

const SELECT: [u8; 4] = [0x00, 0xA4, 0x04, 0x0C];

pub(crate) async fn client(broker: &FakeBroker) -> Client {
    Client::connect_with(broker.endpoint(), ConnectOptions::default()).await.unwrap()
}

/// Options that wait neither for a missing broker nor for long.
fn at_once() -> ConnectOptions {
    ConnectOptions { connect_timeout: Duration::ZERO, ..ConnectOptions::default() }
}

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("nothing happened within 20 s")
}

#[tokio::test]
async fn without_a_broker_calls_fail_as_not_running() {
    let mut broker = FakeBroker::answering(b"");
    let client = Client::connect_with(broker.endpoint(), at_once()).await.unwrap();
    broker.stop();
    let error = Client::connect_with(broker.endpoint(), at_once()).await.unwrap_err();
    assert_eq!(error.finding(), Some(&Finding::Missing));

    let error = client.transmit("readers/desk").command(SELECT).send().await.unwrap_err();
    assert!(matches!(error, Error::NotRunning { .. }), "{error:?}");
    assert_eq!(error.delivery(), Delivery::NotSent);
    assert!(matches!(client.readers().await.unwrap_err(), Error::NotRunning { .. }));

    broker.restart();
    assert_eq!(client.readers().await.unwrap().len(), 2, "the same client finds the broker again");
}

#[tokio::test]
async fn a_closed_tcp_port_is_not_running_either() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = format!("http://127.0.0.1:{port}").parse().unwrap();
    let error = Client::connect_with(endpoint, at_once()).await.unwrap_err();
    assert!(matches!(error.finding(), Some(Finding::Refused(_))), "{error:?}");
}

#[tokio::test]
async fn every_call_waits_for_a_starting_broker() {
    let mut broker = FakeBroker::answering(b"");
    let client = client(&broker).await;
    for call in 0..6 {
        broker.stop();
        // Waits until the client has noticed that its connection is gone.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let (client, endpoint) = (client.clone(), broker.endpoint());
        let call = tokio::spawn(async move {
            match call {
                0 => client.readers().await.map(drop),
                1 => client.transmit("desk").command(SELECT).send().await.map(drop),
                2 => client.open_session("desk").open().await.map(drop),
                3 => client.watch_turn().next().await.map(drop),
                4 => match client.watch().next().await {
                    WatchEvent::Disconnected(error) => Err(error),
                    _ => Ok(()),
                },
                _ => Client::connect_with(endpoint, ConnectOptions::default()).await.map(drop),
            }
        });
        tokio::time::sleep(Duration::from_millis(150)).await;
        broker.restart();
        soon(call).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_socket_without_permission_is_not_waited_for() {
    let folder = tempfile::TempDir::new().unwrap();
    let socket = folder.path().join("broker.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    if std::os::unix::net::UnixStream::connect(&socket).is_ok() {
        return; // Root may do all.
    }
    let endpoint = format!("unix:{}", socket.display()).parse().unwrap();
    let patient = ConnectOptions { connect_timeout: Duration::from_secs(60), ..ConnectOptions::default() };
    let error = soon(Client::connect_with(endpoint, patient)).await.unwrap_err();
    assert!(error.to_string().starts_with("no permission to open unix:"), "{error}");
}

#[tokio::test]
async fn a_reader_is_named_by_object_id_or_names() {
    let broker = FakeBroker::answering(b"");
    let client = client(&broker).await;
    let desk: Reader = client.reader("desk").await.unwrap();
    assert_eq!((desk.name.as_str(), desk.insertion_id.as_str()), ("readers/desk", "first"));
    client.transmit(&desk).command(SELECT).send().await.unwrap();
    for name in ["desk", "readers/desk", "Yubico YubiKey 00 00"] {
        client.transmit(name).command(SELECT).send().await.unwrap();
    }
    assert!(broker.record().transmits.iter().all(|request| request.reader == "readers/desk"));
    let error = client.open_session("YubiKey").open().await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)) && error.is_permanent());
    assert!(error.to_string().contains("readers/desk (Yubico YubiKey 00 00), readers/pcd-00-00 (PCD 00 00)"));
    let error = client.reader("gone").await.unwrap_err();
    assert_eq!((error.reason(), error.is_permanent()), (Some(ErrorReason::ReaderNotFound), true));
}

#[tokio::test]
async fn the_broker_describes_itself() {
    let broker = FakeBroker::answering(b"");
    let told = client(&broker).await.broker().await.unwrap();
    assert_eq!((told.version.as_str(), told.limits.max_commands), ("0.1.0", 64));
    assert_eq!((told.limits.outcome_lifetime.as_secs(), told.caller.process_id), (600, Some(42)));
}

#[tokio::test]
async fn waiting_turns_skip_heartbeats_and_survive_an_error() {
    let broker = FakeBroker::answering(b"");
    let mut watch = client(&broker).await.watch_turn().at("desk");
    for _ in 0..2 {
        let waiting = soon(watch.next()).await.unwrap();
        assert_eq!((waiting[0].reader.as_str(), waiting[0].turns_ahead), ("readers/desk", 2));
        assert!(soon(StreamExt::next(&mut watch)).await.unwrap().unwrap().is_empty());
        assert_eq!(soon(watch.next()).await.unwrap_err().reason(), Some(ErrorReason::ReaderNotFound));
    }
}

#[tokio::test]
async fn a_turn_without_terms_is_left_to_the_broker() {
    let broker = FakeBroker::answering(b"");
    let client = client(&broker).await;
    client.transmit("desk").command(SELECT).send().await.unwrap();
    client.transmit("desk").command(SELECT).card(CardRequirement::Required).send().await.unwrap();
    let record = broker.record();
    assert_eq!(record.transmits[0].turn, None);
    assert_eq!(record.transmits[1].turn.as_ref().unwrap().card(), CardRequirement::Required);
}

#[tokio::test]
async fn the_wait_ends_before_the_deadline_sent_to_the_broker() {
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
    let turn = record.transmits[0].turn.as_ref().unwrap();
    assert_eq!(turn.wait_timeout, Some(prost_types::Duration { seconds: 9, nanos: 0 }));
}

#[tokio::test]
async fn a_call_past_its_deadline_has_an_unknown_delivery() {
    let broker = FakeBroker::start(|_| None);
    let unit = client(&broker).await.transmit("readers/desk").command(SELECT).deadline(Duration::from_millis(200));
    let error = soon(unit.send()).await.unwrap_err();
    assert_eq!((error.reason(), error.delivery()), (None, Delivery::Unknown));
    assert_eq!(error.to_string(), "the call's deadline passed without an answer");
}

#[tokio::test]
async fn queries_before_a_unit_count_towards_its_deadline() {
    let broker = FakeBroker::answering(b"");
    let client = client(&broker).await;
    broker.get_stuck();
    let unit = |reader| client.transmit(reader).command(SELECT).deadline(Duration::from_millis(200));
    let began = std::time::Instant::now();
    for unit in [unit("Yubico YubiKey 00 00"), unit("desk").repeatable(), unit("desk").repeatable().on_any_card()] {
        let error = soon(unit.send()).await.unwrap_err();
        assert_eq!((error.failure().unwrap().code, error.delivery()), (Code::DeadlineExceeded, Delivery::NotSent));
    }
    // Each question before a unit has a limit of its own, 10 s.
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    assert!(broker.record().transmits.is_empty());
}

#[tokio::test]
async fn a_connection_lost_during_a_call_means_unknown_delivery() {
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
        assert!(matches!(error, Error::Invalid(_)) && error.is_permanent(), "{error:?}");
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
async fn the_watch_reconnects_and_reports_changes_in_between() {
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
async fn dropping_next_repeatedly_loses_no_event_of_a_watch() {
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

#[tokio::test]
async fn a_watch_is_a_stream() {
    let broker = FakeBroker::answering(b"");
    let watch = client(&broker).await.watch();
    let told: Vec<_> = soon(watch.take(3).map(tell).collect()).await;
    assert_eq!(told, ["connected", "readers/desk first", "readers/pcd-00-00 "]);
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
