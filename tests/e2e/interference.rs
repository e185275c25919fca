//! A rival that behaves like Windows' plug and play: the broker waits until a rival that came first is gone, and
//! excludes one that comes later.

use std::{thread, time::Duration};

use anyhow::{Context, ensure};
use cardbroker_client::{ReaderState, WatchEvent};
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{broker::Setup, pcscd::Pcscd, programs::Program},
};
use tokio::time::timeout;

use crate::world::{LONG, READER, SELECT_AND_FETCH, answers, tell, unit, wait_for, wait_until};

const INTERFERER: &str = env!("CARGO_BIN_EXE_interferer");

/// Tests of 30 insertions, of 400 ms and more each, run in parallel lanes, each with a pcscd of its own. Where a broker
/// is killed in between, the pcscd is a new one too: 1.9.9 no longer sees the virtual driver's cards after it had to
/// clean up an exclusive handle on an empty reader.
const LANES: usize = 3;
const INSERTIONS_PER_LANE: usize = 10;

fn in_lanes(lane: impl Fn() -> anyhow::Result<()> + Sync) -> anyhow::Result<()> {
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(&lane)).collect();
        lanes.into_iter().try_for_each(|lane| lane.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

#[test]
fn the_broker_outwaits_a_rival_that_came_first() -> anyhow::Result<()> {
    in_lanes(|| {
        for _ in 0..INSERTIONS_PER_LANE {
            let pcscd = Pcscd::start(1)?;
            let mut rival =
                Program::start(INTERFERER, &pcscd, &["hold", &pcscd.reader_name(0), "--duration-ms", "150"])?;
            assert_eq!(rival.line()?, "holding");
            tell(outwait(&pcscd))?;
            let report = rival.report()?;
            ensure!(report["won"] == true && report["commands"].as_u64() > Some(0), "the rival must win: {report}");
        }
        Ok(())
    })
}

/// Starts the broker once, with one insertion.
async fn outwait(pcscd: &Pcscd) -> anyhow::Result<()> {
    let broker = Setup::on(pcscd)?.start()?;
    wait_for(&broker, READER, ReaderState::Empty).await?;
    let mut watch = broker.client().await?.watch();
    watch.next().await;
    let client = broker.client().await?;
    let impatient = tokio::spawn(unit(&client, READER, &[SELECT_AND_FETCH]).wait_for_card().send());
    let card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;

    let mut states = Vec::new();
    while states.last() != Some(&ReaderState::Ready) {
        if let WatchEvent::Updated(reader) = timeout(LONG, watch.next()).await? {
            states.extend(Some(reader.state()).filter(|_| reader.name == READER));
        }
    }
    ensure!(states.contains(&ReaderState::Settling), "{states:?}");
    let answered = answers(&impatient.await??);
    ensure!(answered[0].starts_with("6F118406F04341524401") && answered[0].ends_with(" 9000"), "{answered:?}");

    // The card sees the rival's conversation, then the broker's, and no later command of the rival.
    let headers = card.seen().headers;
    let ours = headers.iter().position(|header| *header == [0, 0xC0, 0, 0]).context("our GET RESPONSE")?;
    ensure!(ours + 1 == headers.len() && ours >= 5, "{headers:02X?}");
    Ok(())
}

#[test]
fn a_rival_cannot_connect_to_an_owned_reader() -> anyhow::Result<()> {
    in_lanes(|| tell(hold_against_a_racer()))
}

async fn hold_against_a_racer() -> anyhow::Result<()> {
    let world = crate::world::PcscWorld::usual().await?;
    let mut rival = Program::start(INTERFERER, &world.pcscd, &["race", &world.pcscd.reader_name(0)])?;
    assert_eq!(rival.line()?, "racing");
    let client = world.broker.client().await?;
    let mut watch = client.watch();
    for insertion in 0..INSERTIONS_PER_LANE {
        world.card.pull();
        let state = |state| {
            move |watch: &cardbroker_client::Watch| {
                watch.readers().get(READER).is_some_and(|reader| reader.state() == state)
            }
        };
        wait_until(&mut watch, state(ReaderState::Empty)).await?;
        world.card.swap(CardOptions::default());
        wait_until(&mut watch, state(ReaderState::Ready)).await?;
        // The rival tries for a while before it reports.
        let report: serde_json::Value = serde_json::from_str(&rival.line()?)?;
        ensure!(report["connections"] == 0 && report["insertions"] == insertion + 1, "{report}");
        ensure!(answers(&unit(&client, READER, &[SELECT_AND_FETCH]).send().await?)[0].ends_with(" 9000"));
    }
    let report = rival.end()?;
    ensure!(report["connections"] == 0 && report["attempts"].as_u64() > Some(100), "{report}");
    Ok(())
}

#[test]
fn a_rival_that_stays_is_reported_and_waited_for() -> anyhow::Result<()> {
    tell(async {
        let pcscd = Pcscd::start(1)?;
        let mut rival = Program::start(INTERFERER, &pcscd, &["hold", &pcscd.reader_name(0), "--duration-ms", "4000"])?;
        assert_eq!(rival.line()?, "holding");
        let broker = Setup::on(&pcscd)?.start()?;
        let _card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
        wait_for(&broker, READER, ReaderState::HeldElsewhere).await?;
        let client = broker.client().await?;
        let refused = unit(&client, READER, &[SELECT_AND_FETCH]).send().await.unwrap_err();
        assert_eq!(crate::world::told(&refused), "HELD_ELSEWHERE not_sent");
        assert!(refused.retry_after() > Some(Duration::ZERO));
        let patient = unit(&client, READER, &[SELECT_AND_FETCH]).wait_for_card().send().await?;
        assert!(answers(&patient)[0].ends_with(" 9000"));
        assert_eq!(rival.report()?["won"], true);
        Ok(())
    })
}
