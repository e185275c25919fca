//! `WatchTurn`: a caller watches its own waiting requests, and no other caller's.

use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use cardbroker_client::{ReaderState, WaitingTurn, WatchTurn};
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_proto::v1::{WatchTurnRequest, WatchTurnResponse};
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{
        broker::{Broker, Setup},
        pcscd::Pcscd,
    },
};
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};

use crate::{
    conversation::{Conversation, opening},
    status::{session_holder, session_waiter},
    wire::{self, Stub, stub},
    world::{INCREMENT, LONG, READER, Stage, arrived, over_both_backends, tell, unit, wait_for},
};

over_both_backends! { T1:
    a_caller_sees_its_own_requests_and_the_holder,
    the_callers_own_session_is_marked_as_own,
}

/// The next report that fits `wished`.
async fn until(watch: &mut WatchTurn, wished: impl Fn(&[WaitingTurn]) -> bool) -> anyhow::Result<Vec<WaitingTurn>> {
    let told = async {
        loop {
            let waiting = watch.next().await?;
            if wished(&waiting) {
                return anyhow::Ok(waiting);
            }
        }
    };
    timeout(LONG, told).await.context("it was never reported")?
}

async fn a_caller_sees_its_own_requests_and_the_holder(stage: Stage) -> anyhow::Result<()> {
    let mut here = stage.client.watch_turn().at(stage.reader);
    let mut everywhere = stage.broker.client().await?.watch_turn();
    for watch in [&mut here, &mut everywhere] {
        assert_eq!(timeout(LONG, watch.next()).await??, [], "the first message comes at once");
    }
    let before = SystemTime::now();
    let holder = session_holder(&stage)?;
    // Two of this caller, on two connections, and one of another caller, which is not reported here.
    let first = stage.unit(&[INCREMENT]).wait_timeout(Duration::from_secs(3600));
    let first = arrived(&stage.client, first).await?;
    let other_connection = stub(&stage.broker).await?;
    let mut second = Conversation::ask(&other_connection, opening(stage.reader)).await?;
    let other_caller = session_waiter(&stage)?;
    assert!(second.hear().await.starts_with("ahead"));

    for watch in [&mut here, &mut everywhere] {
        // The other caller's turn comes before the second of this one, as soon as its request has arrived.
        let waiting = until(watch, |waiting| waiting.len() == 2 && waiting[1].turns_ahead == 3).await?;
        let told: Vec<_> = waiting.iter().map(|turn| (&*turn.reader, turn.is_session, turn.turns_ahead)).collect();
        assert_eq!(told, [(stage.reader, false, 1), (stage.reader, true, 3)]);
        for (turn, wait) in waiting.iter().zip([3600, 30]) {
            let (arrived, gives_up) = (turn.arrive_time.context("no time")?, turn.deadline_time.context("no time")?);
            assert!(arrived >= before && arrived <= SystemTime::now(), "{turn:?}");
            let patience = gives_up.duration_since(arrived)?;
            assert!(patience.abs_diff(Duration::from_secs(wait)) < Duration::from_secs(1), "{turn:?}");
            let holder = turn.holder.as_ref().context("no holder")?;
            assert!(!holder.is_own && holder.is_session, "{holder:?}");
            assert!(holder.begin_time.is_some_and(|begin| begin <= SystemTime::now()), "{holder:?}");
        }
    }
    drop((holder, other_caller));
    first.await?;
    assert_eq!(second.answer().await, "opened");
    assert_eq!(second.close().await, ["over: OK"]);
    for watch in [&mut here, &mut everywhere] {
        until(watch, |waiting| waiting.is_empty()).await?;
    }
    Ok(())
}

async fn the_callers_own_session_is_marked_as_own(stage: Stage) -> anyhow::Result<()> {
    let session = stage.client.open_session(stage.reader).open().await?;
    let waiting = arrived(&stage.client, stage.unit(&[INCREMENT])).await?;
    let mut watch = stage.client.watch_turn();
    let told = until(&mut watch, |waiting| !waiting.is_empty()).await?;
    let holder = told[0].holder.as_ref().context("no holder")?;
    assert_eq!((told[0].turns_ahead, holder.is_own, holder.is_session), (1, true, true));
    session.close().await?;
    waiting.await?;
    // A request that gives up is reported as well.
    let busy = stage.keep_busy(3000).await?;
    let waiting = arrived(&stage.client, stage.unit(&[INCREMENT])).await?;
    let told = until(&mut watch, |waiting| !waiting.is_empty()).await?;
    let holder = told[0].holder.as_ref().context("no holder")?;
    assert_eq!((holder.is_own, holder.is_session), (true, false), "a unit of one's own");
    drop(waiting);
    until(&mut watch, |waiting| waiting.is_empty()).await?;
    busy.await??;
    Ok(())
}

async fn broker(configuration: &str) -> anyhow::Result<Broker> {
    let broker = Setup::simulated(2)?.configuration(configuration).start()?;
    wait_for(&broker, "readers/simulated-reader-00", ReaderState::Ready).await?;
    Ok(broker)
}

/// A stream over the contract itself.
async fn stream(stub: &mut Stub, reader: &str) -> anyhow::Result<Streaming<WatchTurnResponse>> {
    let request = WatchTurnRequest { reader: reader.into() };
    Ok(timeout(LONG, stub.watch_turn(request)).await??.into_inner())
}

/// The status for a caller that must not watch the turns at this reader.
async fn refused(stub: &mut Stub, reader: &str) -> anyhow::Result<Status> {
    let mut stream = stream(stub, reader).await?;
    timeout(LONG, stream.message()).await?.err().context("there was a report")
}

#[test]
fn watching_a_hidden_reader_fails_like_a_missing_one() -> anyhow::Result<()> {
    tell(async {
        let hide = "rule = [{ name = 'hide', principals = ['self'], readers = ['.*01'], deny = ['see'] }]";
        let broker = broker(hide).await?;
        let mut stub = stub(&broker).await?;
        let mut told = Vec::new();
        for reader in ["readers/simulated-reader-01", "readers/simulated-reader-77"] {
            let status = refused(&mut stub, reader).await?;
            assert_eq!(wire::told(&status), "NotFound READER_NOT_FOUND not_sent");
            told.push(wire::failure(&status).context("no failure")?);
        }
        assert_eq!(told[0], told[1]);
        assert_eq!(refused(&mut stub, "no reader's name").await?.code(), Code::NotFound);
        let mut allowed = stream(&mut stub, "readers/simulated-reader-00").await?;
        assert_eq!(wire::next(&mut allowed).await?, WatchTurnResponse::default());
        Ok(())
    })
}

#[test]
fn a_reader_that_is_hidden_later_ends_the_stream() -> anyhow::Result<()> {
    tell(async {
        let broker = crate::policy::broker("").await?;
        let mut stub = stub(&broker).await?;
        let mut messages = stream(&mut stub, "readers/simulated-reader-01").await?;
        assert!(wire::next(&mut messages).await?.waiting.is_empty());
        let hide = "rule = [{ name = 'hide', principals = ['self'], readers = ['.*01'], deny = ['see'] }]";
        crate::policy::reload(&broker, hide, "policy_reloaded").await?;
        let ended = timeout(LONG, messages.message()).await?.err().context("it goes on")?;
        assert_eq!(wire::told(&ended), "NotFound READER_NOT_FOUND not_sent");
        Ok(())
    })
}

#[test]
fn a_quiet_stream_repeats_its_message_as_a_heartbeat() -> anyhow::Result<()> {
    tell(async {
        let broker = broker("watch.heartbeat_interval = \"1s\"").await?;
        let reader = "readers/simulated-reader-00";
        let mut stub = stub(&broker).await?;
        let client = broker.client().await?;
        let session = client.open_session(reader).open().await?;
        let waiting = arrived(&client, unit(&client, reader, &[INCREMENT])).await?;
        let mut messages = stream(&mut stub, "").await?;
        let mut last = wire::next(&mut messages).await?;
        let began = Instant::now();
        for _ in 0..2 {
            let message = wire::next(&mut messages).await?;
            assert!(message.is_heartbeat && message.waiting.len() == 1, "{message:?}");
            assert_eq!(message.waiting[0].turns_ahead_count, last.waiting[0].turns_ahead_count);
            last = message;
        }
        let each = began.elapsed() / 2;
        assert!(each > Duration::from_millis(700), "{each:?}");
        session.close().await?;
        waiting.await?;
        let told = wire::next(&mut messages).await?;
        assert!(!told.is_heartbeat && told.waiting.is_empty(), "{told:?}");
        Ok(())
    })
}

#[test]
fn a_hanging_driver_delays_no_watcher() -> anyhow::Result<()> {
    tell(async {
        let pcscd = Pcscd::start(1)?;
        let card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
        let broker = Setup::on(&pcscd)?.start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let client = broker.client().await?;
        card.hang_next(6 * LONG);
        let in_flight = arrived(&client, unit(&client, READER, &[INCREMENT])).await?;
        assert!(card.wait_until(LONG, |seen| seen.hanging));
        let waiting = arrived(&client, unit(&client, READER, &[INCREMENT])).await?;
        for mut watch in [client.watch_turn(), client.watch_turn().at(READER)] {
            let told = until(&mut watch, |waiting| !waiting.is_empty()).await?;
            assert!(card.wait_until(Duration::ZERO, |seen| seen.hanging), "the watcher waited for the driver");
            let holder = told[0].holder.as_ref().context("no holder")?;
            assert_eq!((told.len(), told[0].turns_ahead, holder.is_own, holder.is_session), (1, 1, true, false));
        }
        card.resume();
        in_flight.await?;
        waiting.await?;
        Ok(())
    })
}
