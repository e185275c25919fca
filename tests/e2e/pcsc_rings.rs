//! Brokers in a ring, each of which has the door of the next one for its PC/SC service: they say so and serve nothing.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;
use cardbroker_client::ReaderState;
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{
        broker::{Broker, Setup},
        pcscd::Pcscd,
    },
};

use crate::world::{READER, tell, wait_for};

const LONGEST: Duration = Duration::from_secs(30);
const RING: &str = "PC/SC leads back to this broker's own socket for PC/SC programs, through ";

/// Settings of brokers, each of which has the door of the next one for its PC/SC service.
fn ring(count: usize) -> anyhow::Result<Vec<Setup>> {
    let setups = (0..count).map(|_| Setup::behind("/nowhere".into())).collect::<anyhow::Result<Vec<_>>>()?;
    let doors: Vec<_> = setups.iter().map(|setup| setup.door_socket().display().to_string()).collect();
    let behind =
        |(index, setup): (usize, Setup)| setup.environment("PCSCLITE_CSOCK_NAME", &doors[(index + 1) % count]).door("");
    Ok(setups.into_iter().enumerate().map(behind).collect())
}

/// Waits until the log of a broker has this text.
fn tells(broker: &Broker, text: &str) -> anyhow::Result<()> {
    let began = Instant::now();
    while !broker.log().contains(text) {
        ensure!(began.elapsed() < LONGEST, "no {text:?}: {}", broker.log());
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[test]
fn two_brokers_in_a_ring_say_so_until_it_is_cut() -> anyhow::Result<()> {
    tell(async {
        let pcscd = Pcscd::start(1)?;
        let _card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
        let brokers = ring(2)?.into_iter().map(Setup::start).collect::<anyhow::Result<Vec<_>>>()?;
        let [first, mut second] = <[Broker; 2]>::try_from(brokers).ok().unwrap();
        for broker in [&first, &second] {
            tells(broker, &format!("{RING}1 other broker(s)"))?;
            assert!(broker.client().await?.readers().await?.is_empty());
        }
        // Another broker has the second one's door, and a real service.
        let door = second.door();
        assert!(second.stop()?.success(), "{}", second.log());
        let mut outer =
            Setup::on(&pcscd)?.configuration(&format!("[pcsclite]\nsocket = \"{}\"\n", door.display())).start()?;
        wait_for(&outer, READER, ReaderState::Ready).await?;
        wait_for(&first, READER, ReaderState::Ready).await?;
        assert!(outer.stop()?.success());
        Ok(())
    })
}

#[test]
fn three_brokers_in_a_ring_say_so() -> anyhow::Result<()> {
    tell(async {
        let brokers = ring(3)?.into_iter().map(Setup::start).collect::<anyhow::Result<Vec<_>>>()?;
        for broker in &brokers {
            tells(broker, &format!("{RING}2 other broker(s)"))?;
        }
        Ok(())
    })
}
