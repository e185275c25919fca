//! A session's messages besides answers: heartbeats, and the cause of its revocation.

use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use cardbroker_client::ReaderState;
use cardbroker_proto::v1::{
    Delivery, ErrorReason, Failure, RevocationCause, SessionHeartbeat, SessionOpen, open_session_request::Request,
    open_session_response::Response,
};
use cardbroker_tests::harness::{
    broker::{Broker, Setup},
    run::{cardbroker, run},
};
use tonic::{Code, Status};

use crate::{
    conversation::{Conversation, milliseconds, opening},
    policy::{self, reload},
    wire::{failure, stub, told},
    world::{COUNT, INCREMENT, LONG, Stage, answers, over_both_backends, slow, tell, unit, wait_for},
};

const READER: &str = "readers/simulated-reader-00";
const HEARTBEAT: Duration = Duration::from_secs(1);

over_both_backends! { T1, "watch.heartbeat_interval = \"1s\"":
    a_waiting_or_open_session_gets_heartbeats,
    a_clients_heartbeat_is_unanswered_and_not_an_activity,
}

/// The status of a session that the broker ends.
async fn end(session: &mut Conversation) -> anyhow::Result<Status> {
    loop {
        match session.message().await {
            Ok(Some(_)) => {}
            Ok(None) => anyhow::bail!("it has ended well"),
            Err(status) => return Ok(status),
        }
    }
}

/// The failure of a revoked session.
async fn revocation(session: &mut Conversation) -> anyhow::Result<Failure> {
    let status = end(session).await?;
    assert_eq!(told(&status), "Aborted LEASE_REVOKED not_sent");
    let failure = failure(&status).context("no failure")?;
    assert_eq!((failure.reason(), failure.delivery()), (ErrorReason::LeaseRevoked, Delivery::NotSent));
    assert_eq!((failure.code, failure.retry_after), (Code::Aborted as i32, None));
    Ok(failure)
}

fn heartbeat() -> Request {
    Request::Heartbeat(SessionHeartbeat { send_time: Some(SystemTime::now().into()) })
}

/// Waits for `count` heartbeats, and no other message; returns how long each took.
async fn heartbeats(session: &mut Conversation, count: u32) -> anyhow::Result<Duration> {
    let (began, asked) = (Instant::now(), SystemTime::now());
    for _ in 0..count {
        let Some(Response::Heartbeat(heartbeat)) = session.message().await? else { panic!("no heartbeat") };
        let sent = SystemTime::try_from(heartbeat.send_time.context("no time")?)?;
        assert!(sent >= asked && sent <= SystemTime::now(), "{sent:?}");
    }
    Ok(began.elapsed() / count)
}

async fn a_waiting_or_open_session_gets_heartbeats(stage: Stage) -> anyhow::Result<()> {
    let stub = stub(&stage.broker).await?;
    let holder = Conversation::open(&stub, opening(stage.reader)).await?;
    let mut session = Conversation::ask(&stub, opening(stage.reader)).await?;
    assert_eq!(session.hear().await, "ahead 1");
    let while_waiting = heartbeats(&mut session, 2).await?;
    assert_eq!(holder.close().await.last().map(String::as_str), Some("over: OK"));
    assert_eq!(session.answer().await, "opened");
    let while_open = heartbeats(&mut session, 2).await?;
    for each in [while_waiting, while_open] {
        assert!(each > HEARTBEAT * 7 / 10, "{each:?}");
    }
    assert_eq!(session.run(&[INCREMENT]).await, "1: 00000001 9000", "it takes nobody's place");
    assert_eq!(session.close().await, ["over: OK"]);
    Ok(())
}

async fn a_clients_heartbeat_is_unanswered_and_not_an_activity(stage: Stage) -> anyhow::Result<()> {
    let open = SessionOpen { idle_timeout: milliseconds(500), ..opening(stage.reader) };
    let mut session = Conversation::open(&stub(&stage.broker).await?, open).await?;
    for _ in 0..3 {
        session.say(heartbeat(), false);
    }
    let idle = Instant::now();
    assert_eq!(session.run(&[INCREMENT]).await, "1: 00000001 9000", "they are not answered");
    let next = tokio::spawn(stage.unit(&[INCREMENT]).send());
    // More often than the session may idle, up to the limit of the whole story.
    let alive = async {
        while idle.elapsed() < LONG {
            session.say(heartbeat(), false);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        biased;
        next = next => assert_eq!(answers(&next??), ["00000002 9000"]),
        () = alive => panic!("the session holds the card by heartbeats alone"),
    }
    assert!(idle.elapsed() >= Duration::from_millis(500), "{:?}", idle.elapsed());
    assert_eq!(revocation(&mut session).await?.cause(), RevocationCause::Idle);
    Ok(())
}

#[test]
fn a_failure_and_not_a_heartbeat_restarts_a_session() -> anyhow::Result<()> {
    tell(async {
        let broker = simulated("").await?;
        let mut session = Conversation::open(&stub(&broker).await?, opening(READER)).await?;
        session.transmit(&[]);
        assert_eq!(session.answer().await, "1: failed INVALID_REQUEST not_sent");
        session.say(heartbeat(), true);
        session.transmit(&[INCREMENT]);
        assert_eq!(session.answer().await, "2: failed PRECEDING_FAILED not_sent", "it restarts nothing");
        session.restart(&[INCREMENT]);
        assert_eq!(session.answer().await, "3: 00000001 9000");
        Ok(())
    })
}

async fn simulated(configuration: &str) -> anyhow::Result<Broker> {
    let broker = Setup::simulated(1)?.configuration(configuration).start()?;
    wait_for(&broker, READER, ReaderState::Ready).await?;
    Ok(broker)
}

#[test]
fn a_revoked_session_gets_the_cause() -> anyhow::Result<()> {
    tell(async {
        let broker = simulated("limits.max_contended_lease = \"1s\"").await?;
        let (stub, client) = (stub(&broker).await?, broker.client().await?);
        let open = SessionOpen { idle_timeout: milliseconds(200), ..opening(READER) };
        let mut idle = Conversation::open(&stub, open).await?;
        unit(&client, READER, &[COUNT]).send().await?;
        let told = revocation(&mut idle).await?;
        assert_eq!((told.cause(), &*told.rule, &*told.reader), (RevocationCause::Idle, "", READER));

        let mut busy = Conversation::open(&stub, opening(READER)).await?;
        for _ in 0..8 {
            busy.transmit(&[&slow(400)]);
        }
        // Callers of the session's own group would wait for as long as it lasts.
        let mut other = cardbroker(&broker.endpoint(), &["transmit", READER, COUNT])?;
        let other = tokio::task::spawn_blocking(move || run(&mut other));
        let told = revocation(&mut busy).await?;
        assert_eq!(other.await??.code, Some(0));
        assert_eq!((told.cause(), &*told.rule), (RevocationCause::TooLong, ""));
        Ok(())
    })
}

#[test]
fn a_session_revoked_by_new_rules_gets_the_rule() -> anyhow::Result<()> {
    tell(async {
        let broker = policy::broker("").await?;
        let stub = stub(&broker).await?;
        let mut session = Conversation::open(&stub, opening(READER)).await?;
        assert_eq!(session.run(&[INCREMENT]).await, "1: 00000001 9000");
        let rules = "rule = [{ name = 'night', principals = ['self'], deny = ['session'] }]";
        reload(&broker, rules, "policy_reloaded").await?;
        let told = revocation(&mut session).await?;
        assert_eq!((told.cause(), &*told.rule), (RevocationCause::RulesChanged, "night"));
        // No reader allows the caller a session, so the call is refused before it is read.
        let refused = Conversation::ask(&stub, opening(READER)).await.err().context("it is not refused")?;
        let told = failure(&refused.downcast::<tonic::Status>()?).context("no failure")?;
        assert_eq!(
            (told.reason(), told.cause(), &*told.rule),
            (ErrorReason::Denied, RevocationCause::Unspecified, "night")
        );
        Ok(())
    })
}
