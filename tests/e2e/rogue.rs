//! A malicious client beside a well-behaved one.

mod connections;
mod floods;

use std::{
    io::{self, Write},
    process::Command,
};

use anyhow::Context;
use cardbroker_client::ReaderState;
use cardbroker_tests::harness::{
    broker::{Broker, Setup},
    memory::resident_bytes,
};
use tokio::time::timeout;

use crate::{
    talkers::{Talker, saturator},
    world::{LONGEST, slow, tell, wait_for},
};

/// The readers of the well-behaved client and of the rogue.
const READER: &str = "readers/simulated-reader-00";
const OTHER: &str = "readers/simulated-reader-01";

const MANNERS: [&str; 7] = ["storm", "garbage", "half-open", "oversized", "sessions", "transmits", "watches"];
const ROUNDS: usize = 3;
const SECONDS: u64 = 1;
/// The card's time for each turn, in ms.
const TURN: u16 = 20;

async fn broker(configuration: &str) -> anyhow::Result<Broker> {
    let broker = Setup::simulated(2)?.configuration(configuration).log_level("info").start()?;
    wait_for(&broker, READER, ReaderState::Ready).await?;
    wait_for(&broker, OTHER, ReaderState::Ready).await?;
    Ok(broker)
}

/// A well-behaved client: once its input closes it takes turns for a while, and counts them.
fn client(broker: &Broker) -> anyhow::Result<Talker> {
    saturator(broker, READER, &slow(TURN), SECONDS, None)
}

fn rogue(broker: &Broker, manner: &str) -> anyhow::Result<Talker> {
    let mut rogue = Command::new(env!("CARGO_BIN_EXE_rogue"));
    Talker::start(rogue.arg(broker.socket()).args([manner, OTHER]), "attacking")
}

fn median(mut turns: Vec<u64>) -> u64 {
    turns.sort_unstable();
    turns[turns.len() / 2]
}

#[test]
fn a_rogue_takes_no_turns_from_a_good_client() -> anyhow::Result<()> {
    tell(async {
        let broker = broker("").await?;
        for manner in MANNERS {
            let (mut without, mut with, mut made) = (Vec::new(), Vec::new(), 0);
            for _ in 0..ROUNDS {
                without.push(client(&broker)?.end()?);
                let client = client(&broker)?;
                let rogue = rogue(&broker, manner)?;
                with.push(client.end()?);
                made += rogue.end()?;
            }
            let told = format!("{manner}, {made} connections: turns without {without:?}, with {with:?}");
            writeln!(io::stderr(), "{told}; {} MiB", resident_bytes(broker.pid()?)? >> 20)?;
            let (without, with) = (median(without), median(with));
            assert!(10 * with >= 8 * without && without > 10, "{told}");
            assert_eq!(broker.cardbroker(&["readers"])?.code, Some(0));
        }
        assert!(!broker.settled_log().contains("panicked"));
        Ok(())
    })
}

#[test]
fn half_open_connections_do_not_block_new_ones() -> anyhow::Result<()> {
    tell(async {
        // By themselves they would be closed much later.
        let broker = broker("listen = { max_connections = 100, first_request_timeout = \"10m\" }").await?;
        let early = broker.client().await?;
        early.readers().await?;
        let rogue = rogue(&broker, "half-open")?;
        for _ in 0..20 {
            let newcomer = async { broker.client().await?.readers().await.context("a newcomer is refused") };
            timeout(LONGEST, newcomer).await.context("a newcomer waits")??;
        }
        early.readers().await.context("one that was there is gone")?;
        assert!(rogue.end()? > 1_000);
        Ok(())
    })
}
