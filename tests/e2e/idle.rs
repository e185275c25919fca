//! An idle daemon sleeps: it wakes the processor at most once in 15 s.

use std::{thread, time::Duration};

use cardbroker_client::ReaderState;
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{
        broker::{Broker, Setup},
        pcscd::Pcscd,
        wakeups::{until_asleep, waits},
    },
};

use crate::world::{READER, tell, wait_for};

/// The time in which an idle daemon may wake up once.
const WINDOW: Duration = Duration::from_secs(15);
/// Longer than the monitor's shorter waits after a change.
const QUIET: Duration = Duration::from_secs(3);

/// Readers with a card in each way of owning it, and empty ones.
const WAYS: &str = "[[reader]]\nmatch = \"Virtual PCD B 00 00\"\nown = \"on_demand\"\n\
                    [[reader]]\nmatch = \"Virtual PCD C 00 00\"\nown = \"never\"\n";

fn sleeps(broker: &Broker) -> anyhow::Result<()> {
    let before = until_asleep(broker.pid()?, QUIET)?;
    thread::sleep(WINDOW);
    let wakeups = waits(broker.pid()?)? - before;
    assert!(wakeups <= 1, "{wakeups} wake-ups in {WINDOW:?}");
    Ok(())
}

#[test]
fn an_idle_daemon_with_simulated_readers_sleeps() -> anyhow::Result<()> {
    tell(async {
        let broker = Setup::simulated(2)?.start()?;
        wait_for(&broker, "readers/simulated-reader-00", ReaderState::Ready).await?;
        sleeps(&broker)
    })
}

#[test]
fn an_idle_daemon_with_real_pcsc_sleeps_and_still_sees_a_card_at_once() -> anyhow::Result<()> {
    tell(async {
        let pcscd = Pcscd::start(6)?;
        let insert = |reader| VirtualCard::insert(pcscd.port(reader), CardOptions::default());
        let cards = (insert(0)?, insert(2)?, insert(4)?);
        let broker = Setup::on(&pcscd)?.configuration(WAYS).start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        sleeps(&broker)?;

        let card = insert(1)?;
        wait_for(&broker, "readers/virtual-pcd-a-00-01", ReaderState::Ready).await?;
        card.pull();
        wait_for(&broker, "readers/virtual-pcd-a-00-01", ReaderState::Empty).await?;
        drop(cards);
        wait_for(&broker, READER, ReaderState::Empty).await?;
        Ok(())
    })
}
