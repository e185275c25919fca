//! The calls for operators: what they ask, and the ends of their streams.

use std::time::{Duration, SystemTime};

use cardbroker_client::{
    Delivery, Error, ErrorReason,
    diagnostics::{self, CallerFilter, ReleaseOutcome, TraceEventKind, TraceLevel},
};
use tokio_stream::StreamExt;

use crate::{
    library::{client, soon},
    support::{FakeBroker, sample, script::refusal},
};

#[tokio::test]
async fn a_status_is_of_everything_or_of_one_reader() {
    let broker = FakeBroker::answering(b"");
    let diagnostics = client(&broker).await.diagnostics();
    assert_eq!(diagnostics.status().get().await.unwrap(), sample::status());
    for name in ["desk", "Yubico YubiKey 00 00"] {
        let status = diagnostics.status().at(name).get().await.unwrap();
        assert_eq!((status.broker, status.readers), (None, vec![sample::desk()]), "{name}");
    }
    let asked: Vec<_> = broker.operations().status_requests.iter().map(|request| request.reader.clone()).collect();
    assert_eq!(asked, ["", "readers/desk", "readers/desk"]);
}

#[tokio::test]
async fn a_watch_hides_heartbeats_and_opens_again_after_its_end() {
    let broker = FakeBroker::answering(b"");
    broker.operations().ends = true;
    let diagnostics = client(&broker).await.diagnostics();
    let mut watch = diagnostics.watch_status().at("desk").interval(Duration::from_millis(250));
    for _ in 0..2 {
        for _ in 0..2 {
            assert_eq!(soon(watch.next()).await.unwrap().epoch, "e1");
        }
        assert_eq!(soon(watch.next()).await.unwrap_err().reason(), Some(ErrorReason::ShuttingDown));
    }
    let requests = broker.operations().watch_requests.clone();
    assert_eq!((requests.len(), requests[0].reader.as_str()), (2, "readers/desk"));
    assert_eq!(diagnostics::duration(requests[0].interval), Duration::from_millis(250));
}

#[tokio::test]
async fn every_option_of_a_trace_reaches_the_broker() {
    let broker = FakeBroker::answering(b"");
    let diagnostics = client(&broker).await.diagnostics();
    let caller = CallerFilter { principal: "user 1000".into(), process_id: Some(4711), connection: 7 };
    let trace = diagnostics.trace().reader("desk").reader("readers/x").caller(caller.clone());
    let trace = trace.kind(TraceEventKind::Command).level(TraceLevel::Data).recorded_count(256);
    assert_eq!(soon(trace.begin()).await.unwrap().epoch(), "e1");
    let request = broker.operations().trace_requests.pop().unwrap();
    assert_eq!((request.readers, request.callers), (vec!["readers/desk".into(), "readers/x".into()], vec![caller]));
    assert_eq!(request.kinds, [TraceEventKind::Command as i32]);
    assert_eq!((request.level, request.recorded_count), (TraceLevel::Data as i32, 256));
}

#[tokio::test]
async fn a_trace_tells_events_gaps_and_its_end() {
    let broker = FakeBroker::answering(b"");
    broker.operations().ends = true;
    let mut trace = soon(client(&broker).await.diagnostics().trace().begin()).await.unwrap();
    let first = soon(trace.next()).await.unwrap();
    assert_eq!((first.events.len(), first.missed_count), (6, 0));
    let second = soon(trace.next()).await.unwrap();
    assert_eq!((second.events.len(), second.missed_count), (4, 5), "the heartbeat is hidden");
    assert_eq!([first.events, second.events].concat(), sample::events());
    for _ in 0..2 {
        assert_eq!(soon(trace.next()).await.unwrap_err().reason(), Some(ErrorReason::ShuttingDown));
    }
    assert!(StreamExt::next(&mut trace).await.is_none());
    assert_eq!(broker.operations().trace_requests.len(), 1, "it is not resumed");
}

#[tokio::test]
async fn a_refused_trace_does_not_begin() {
    let broker = FakeBroker::answering(b"");
    broker.operations().refusal = Some(refusal(ErrorReason::Denied, Delivery::NotSent, "denied by rule \"default\""));
    let error = soon(client(&broker).await.diagnostics().trace().begin()).await.unwrap_err();
    assert_eq!((error.reason(), error.is_permanent()), (Some(ErrorReason::Denied), true));
}

#[tokio::test]
async fn a_release_names_the_lease_and_the_reason() {
    let broker = FakeBroker::answering(b"");
    let diagnostics = client(&broker).await.diagnostics();
    let released = diagnostics.release("desk", "e1-8812").reason("lunch").send().await.unwrap();
    assert_eq!((released.outcome(), released.driver_call), (ReleaseOutcome::Released, None));
    let request = broker.operations().releases.pop().unwrap();
    let fields = (request.reader.as_str(), request.lease.as_str(), request.reason.as_str());
    assert_eq!(fields, ("readers/desk", "e1-8812", "lunch"));
}

#[tokio::test]
async fn filter_reload_and_metrics_are_plain_calls() {
    let broker = FakeBroker::answering(b"");
    let diagnostics = client(&broker).await.diagnostics();
    let reverts = diagnostics.set_log_filter("debug", Duration::from_secs(600)).await.unwrap();
    let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(sample::NOW as u64 + 600);
    assert_eq!(reverts, Some(expected));
    let request = broker.operations().filters.pop().unwrap();
    assert_eq!((request.filter.as_str(), diagnostics::duration(request.duration).as_secs()), ("debug", 600));
    assert_eq!(diagnostics.reload().await.unwrap(), broker.operations().reloaded);
    assert!(diagnostics.metrics().await.unwrap().ends_with("# EOF\n"));
}

#[tokio::test]
async fn without_a_broker_operators_are_told_so() {
    let mut broker = FakeBroker::answering(b"");
    let options = cardbroker_client::ConnectOptions { connect_timeout: Duration::ZERO, ..Default::default() };
    let client = cardbroker_client::Client::connect_with(broker.endpoint(), options).await.unwrap();
    broker.stop();
    let diagnostics = client.diagnostics();
    assert!(matches!(diagnostics.status().get().await, Err(Error::NotRunning { .. })));
    assert!(matches!(diagnostics.release("desk", "x").send().await, Err(Error::NotRunning { .. })));
    assert!(matches!(diagnostics.trace().begin().await, Err(Error::NotRunning { .. })));
}
