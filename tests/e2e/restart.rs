//! pcscd is killed and restarted under load, and the broker survives.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cardbroker_client::{Client, Delivery, ErrorReason, ReaderState, WatchEvent, hex};
use cardbroker_tests::harness::habits::Habits;
use tokio::time::{sleep, timeout};

use crate::world::{INCREMENT, LONG, PcscWorld, READER, tell, unit, with_and_without_habits};

with_and_without_habits! { readers_return_streams_survive_and_nothing_runs_twice }

const RESTARTS: usize = 3;
const WORKERS: usize = 4;

/// One client's observations while it increments the card's counter as fast as possible.
#[derive(Default)]
struct Tally {
    values: Vec<String>,
    unknown: u64,
    unavailable: u64,
}

async fn work(client: Client, stop: Arc<AtomicBool>) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        match unit(&client, READER, &[INCREMENT]).send().await {
            Ok(done) => tally.values.push(hex::format(&done.results[0].data)),
            Err(error) => {
                let reason = error.reason();
                match error.delivery() {
                    Delivery::NotSent => {}
                    _ => tally.unknown += 1,
                }
                if reason == Some(ErrorReason::PcscUnavailable) {
                    tally.unavailable += 1;
                    let is_timed = error.retry_after() > Some(Duration::ZERO);
                    anyhow::ensure!(is_timed == (error.delivery() == Delivery::NotSent), "RetryInfo: {error:?}");
                } else {
                    // The card disappears with pcscd and returns with it.
                    let expected =
                        [ErrorReason::CardRemoved, ErrorReason::CardLost, ErrorReason::NoCard, ErrorReason::ReaderGone];
                    anyhow::ensure!(reason.is_some_and(|reason| expected.contains(&reason)), "{error:?}");
                }
                sleep(error.retry_after().unwrap_or(Duration::from_millis(20))).await;
            }
        }
    }
    Ok(tally)
}

async fn readers_return_streams_survive_and_nothing_runs_twice(habits: Option<Habits>) -> anyhow::Result<()> {
    let mut world = PcscWorld::usual_with(habits).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(tokio::spawn(work(world.broker.client().await?, Arc::clone(&stop))));
    }
    let mut watch = world.broker.client().await?.watch();
    let mut wait_for = async |wished: ReaderState| {
        let wait = async {
            loop {
                match watch.next().await {
                    WatchEvent::Updated(reader) if reader.name == READER && reader.state() == wished => {
                        return Ok(());
                    }
                    WatchEvent::Disconnected(error) => anyhow::bail!("the stream ended: {error}"),
                    WatchEvent::Removed(reader) => anyhow::bail!("{} was unplugged", reader.name),
                    _ => {}
                }
            }
        };
        timeout(LONG, wait).await?
    };
    wait_for(ReaderState::Ready).await?;
    for _ in 0..RESTARTS {
        let before = world.card.commands_seen();
        assert!(world.card.wait_until(LONG, |seen| seen.commands > before + 50), "no load");
        world.pcscd.kill()?;
        wait_for(ReaderState::Unavailable).await?;
        world.pcscd.restart()?;
        wait_for(ReaderState::Ready).await?;
    }
    stop.store(true, Ordering::Relaxed);

    let (mut values, mut answered, mut unknown, mut unavailable) = (BTreeSet::new(), 0, 0, 0);
    for worker in workers {
        let tally = worker.await??;
        answered += tally.values.len() as u64;
        values.extend(tally.values);
        unknown += tally.unknown;
        unavailable += tally.unavailable;
    }
    let ran = world.card.seen().by_instruction[0x12];
    assert_eq!(values.len() as u64, answered, "no value was given twice");
    assert!(ran >= answered && ran <= answered + unknown, "{ran} ran, {answered} answered, {unknown} unknown");
    assert!(unavailable > 0, "some client must have got UNAVAILABLE");
    Ok(())
}

#[test]
fn the_broker_starts_without_pcscd_and_finds_it_later() -> anyhow::Result<()> {
    tell(async {
        let mut pcscd = cardbroker_tests::harness::pcscd::Pcscd::start(1)?;
        pcscd.kill()?;
        let broker = cardbroker_tests::harness::broker::Setup::on(&pcscd)?.start()?;
        assert!(broker.client().await?.readers().await?.is_empty());
        let log = broker.settled_log();
        assert!(log.contains("is pcscd running?"), "{log}");
        pcscd.restart()?;
        crate::world::wait_for(&broker, READER, ReaderState::Empty).await?;
        Ok(())
    })
}
