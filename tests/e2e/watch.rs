//! Watching the readers: the content of a stream, slow and many watchers, and restarts of the broker.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, ensure};
use cardbroker_client::{ReaderState, WatchEvent};
use cardbroker_core::slot::Protocol;
use cardbroker_proto::v1::{
    Reader, ReadersChange, WatchReadersRequest, WatchReadersResponse,
    card_broker_service_client::CardBrokerServiceClient, watch_readers_response::Event,
};
use cardbroker_tests::harness::broker::Setup;
use tokio::{task::JoinSet, time::timeout};
use tonic::Streaming;

use crate::{
    wire::{Stub, next, stub, transport, watch},
    world::{LONG, Stage, fault, tell, wait_for, wait_until},
};

const READER: &str = "readers/simulated-reader-00";
const OTHER: &str = "readers/simulated-reader-01";

type Messages = Streaming<WatchReadersResponse>;

async fn snapshot(messages: &mut Messages) -> anyhow::Result<Vec<Reader>> {
    match next(messages).await?.event {
        Some(Event::Snapshot(snapshot)) => Ok(snapshot.readers),
        other => anyhow::bail!("the first message is no snapshot: {other:?}"),
    }
}

async fn change(messages: &mut Messages) -> anyhow::Result<ReadersChange> {
    match next(messages).await?.event {
        Some(Event::Change(change)) => Ok(change),
        other => anyhow::bail!("no change: {other:?}"),
    }
}

async fn resume(stub: &mut Stub, token: &str) -> anyhow::Result<Messages> {
    let request = WatchReadersRequest { resume_token: token.to_owned() };
    Ok(timeout(LONG, stub.watch_readers(request)).await??.into_inner())
}

/// Reads on until the reader is as wished; returns it, and how many messages that took.
async fn until(messages: &mut Messages, wished: impl Fn(&Reader) -> bool) -> anyhow::Result<(Reader, usize)> {
    for count in 1.. {
        if let Some(reader) = change(messages).await?.updated.into_iter().find(&wished) {
            return Ok((reader, count));
        }
    }
    unreachable!()
}

async fn stage() -> anyhow::Result<Stage> {
    let stage = Stage::simulated(Protocol::T1).await?;
    wait_for(&stage.broker, OTHER, ReaderState::Ready).await?;
    Ok(stage)
}

#[test]
fn a_stream_begins_with_all_readers_and_then_tells_what_changes() -> anyhow::Result<()> {
    tell(async {
        let stage = stage().await?;
        let mut messages = watch(&mut stub(&stage.broker).await?).await?;
        let readers = snapshot(&mut messages).await?;
        assert_eq!(readers.iter().map(|reader| &*reader.name).collect::<Vec<_>>(), [READER, OTHER]);
        stage.run(&[&fault(2, 0, 300)]).await?;
        let left = change(&mut messages).await?;
        let [empty] = &left.updated[..] else { panic!("{left:?}") };
        assert_eq!((&*empty.name, empty.state(), left.removed_names.len()), (READER, ReaderState::Empty, 0));
        assert!(empty.insertion_id.is_empty() && empty.atr.is_empty(), "{empty:?}");
        let (ready, _) = until(&mut messages, |reader| reader.state() == ReaderState::Ready).await?;
        assert_eq!((&*ready.name, ready.insertion_count), (READER, 2));
        assert!(!ready.atr.is_empty() && ready.atr != readers[0].atr, "{ready:?}");
        assert!(!ready.insertion_id.is_empty() && ready.insertion_id != readers[0].insertion_id, "{ready:?}");
        Ok(())
    })
}

#[test]
fn a_token_takes_up_a_watch_where_it_was_left() -> anyhow::Result<()> {
    tell(async {
        let mut stage = stage().await?;
        let mut asking = stub(&stage.broker).await?;
        let left = next(&mut watch(&mut asking).await?).await?.resume_token;
        let mut resumed = resume(&mut asking, &left).await?;
        assert_eq!(change(&mut resumed).await?, ReadersChange::default(), "nothing has changed");

        stage.run(&[&fault(2, 0, 0xFFFF)]).await?;
        let (empty, _) = until(&mut resumed, |reader| reader.state() == ReaderState::Empty).await?;
        let mut resumed = resume(&mut asking, &left).await?;
        let missed = change(&mut resumed).await?;
        assert_eq!(missed, ReadersChange { updated: vec![empty], removed_names: Vec::new() });
        assert_eq!(snapshot(&mut resume(&mut asking, &format!("{left}0")).await?).await?.len(), 2, "not a token");

        stage.broker.kill()?;
        stage.broker.start_again()?;
        wait_for(&stage.broker, OTHER, ReaderState::Ready).await?;
        let mut asking = stub(&stage.broker).await?;
        assert_eq!(snapshot(&mut resume(&mut asking, &left).await?).await?.len(), 2, "another run");
        Ok(())
    })
}

#[test]
fn an_idle_stream_carries_heartbeats() -> anyhow::Result<()> {
    tell(async {
        let broker = Setup::simulated(1)?.configuration("watch.heartbeat_interval = \"1s\"").start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let mut messages = watch(&mut stub(&broker).await?).await?;
        snapshot(&mut messages).await?;
        let begin = Instant::now();
        for _ in 0..2 {
            let asked = SystemTime::now();
            let Some(Event::Heartbeat(heartbeat)) = next(&mut messages).await?.event else { panic!("no heartbeat") };
            let sent = SystemTime::try_from(heartbeat.send_time.context("no time")?)?;
            assert!(sent >= asked && sent <= SystemTime::now(), "{sent:?}");
        }
        let each = begin.elapsed() / 2;
        assert!(each > Duration::from_millis(950), "{each:?}");
        Ok(())
    })
}

#[test]
fn a_watcher_that_does_not_read_gets_the_latest_state_and_slows_nobody() -> anyhow::Result<()> {
    const SWAPS: i64 = 300;
    tell(async {
        let stage = stage().await?;
        // Room for a few messages: what is under way when nobody reads.
        let narrow = transport(&stage.broker)?.initial_stream_window_size(1024).connect().await?;
        let mut slow = watch(&mut CardBrokerServiceClient::new(narrow)).await?;
        snapshot(&mut slow).await?;
        let mut fast = watch(&mut stub(&stage.broker).await?).await?;
        snapshot(&mut fast).await?;

        let mut swapped = 1;
        while swapped <= SWAPS {
            // A unit may meet the card that has just left, and is not sent then.
            if stage.unit(&[&fault(3, 0, 0)]).wait_for_card().send().await.is_ok() {
                swapped += 1;
                let there = |reader: &Reader| reader.insertion_count >= swapped && reader.state() == ReaderState::Ready;
                until(&mut fast, there).await.context("the watcher that reads was not told")?;
            }
        }
        let last = stage.client.readers().await?.swap_remove(0);
        assert!(last.insertion_count > SWAPS && last.state() == ReaderState::Ready, "{last:?}");
        let (seen, messages) = until(&mut slow, |reader| {
            reader.insertion_count == last.insertion_count && reader.state() == ReaderState::Ready
        })
        .await?;
        assert_eq!(seen, last);
        assert!(messages < 60, "{messages} messages for {SWAPS} swaps were kept for a watcher that did not read");
        Ok(())
    })
}

#[test]
fn five_hundred_watchers_all_see_a_removal() -> anyhow::Result<()> {
    tell(async {
        let stage = stage().await?;
        let mut watchers = JoinSet::new();
        for _ in 0..5 {
            let mut stub = stub(&stage.broker).await?;
            for _ in 0..100 {
                let mut messages = watch(&mut stub).await?;
                ensure!(snapshot(&mut messages).await?.len() == 2);
                watchers
                    .spawn(async move { until(&mut messages, |reader| reader.state() == ReaderState::Empty).await });
            }
        }
        stage.run(&[&fault(2, 0, 0xFFFF)]).await?;
        let all_told = async {
            let mut count = 0;
            while let Some(told) = watchers.join_next().await {
                assert_eq!(told??.0.name, READER);
                count += 1;
            }
            anyhow::Ok(count)
        };
        assert_eq!(timeout(LONG, all_told).await??, 500);
        Ok(())
    })
}

#[test]
fn the_clients_watch_finds_a_broker_again_that_was_killed() -> anyhow::Result<()> {
    tell(async {
        let mut stage = stage().await?;
        let mut watch = stage.client.watch();
        let ready = |watch: &cardbroker_client::Watch| {
            watch.is_connected()
                && watch.readers().get(READER).is_some_and(|reader| reader.state() == ReaderState::Ready)
        };
        wait_until(&mut watch, ready).await?;
        let before = watch.readers()[READER].clone();
        stage.broker.kill()?;
        let lost = async { while !matches!(watch.next().await, WatchEvent::Disconnected(_)) {} };
        timeout(LONG, lost).await.context("the loss is not told")?;
        assert_eq!((watch.is_connected(), &watch.readers()[READER]), (false, &before), "what was known is kept");
        stage.broker.start_again()?;
        wait_until(&mut watch, ready).await?;
        assert_ne!(watch.readers()[READER].insertion_id, before.insertion_id, "an insertion of another run");
        // The client itself finds it again, too.
        stage.run(&[crate::world::SELECT]).await?;
        Ok(())
    })
}
