//! Commands that present a PIN, as a trace shows them.

use std::iter::repeat_with;

use anyhow::Context;
use cardbroker_client::{ReaderState, hex};
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_proto::diagnostics::v1::TraceRequest;
use cardbroker_tests::harness::broker::{Broker, Setup};

use super::{Following, READER, commands, texts};
use crate::world::{PcscWorld, READER as PCSC_READER, SELECT_AND_FETCH, random_pin, seed, tell, unit, wait_for};

/// The lengths of the PINs, in digits, on cards with a PIN of that length.
const LENGTHS: [usize; 4] = [4, 6, 8, 12];

/// The lines of the trace in the broker's log since the line `from`, without times and ids.
fn logged(broker: &Broker, from: usize) -> Vec<String> {
    let log = broker.settled_log();
    let lines = log.lines().skip(from).filter(|line| line.contains("cardbroker::apdu"));
    let is_time = |word: &str| {
        ["number=", "lease=", "took_us=", "waited_ms=", "held_ms="].iter().any(|key| word.starts_with(key))
    };
    let texts =
        lines.map(|line| line.split_whitespace().skip(1).filter(|word| !is_time(word)).collect::<Vec<_>>().join(" "));
    texts.collect()
}

/// The traces and the log of a program that selects and verifies twice.
type Shown = (Vec<String>, Vec<String>, Vec<String>);

async fn shown(broker: &Broker, reader: &str, pins: [&str; 2]) -> anyhow::Result<Shown> {
    let begin = broker.settled_log().lines().count();
    let mut headers = Following::begin(broker, TraceRequest::default()).await?;
    let mut data = Following::data(broker).await?;
    let client = broker.client().await?;
    for pin in pins {
        let verify = format!("00200080{:02X}{}", pin.len(), hex::format(pin.as_bytes()));
        // The card may refuse the PIN, which is shown.
        drop(unit(&client, reader, &[SELECT_AND_FETCH, &verify]).send().await);
    }
    let (headers, data) = (headers.turns(2).await?, data.turns(2).await?);
    for command in commands(headers).iter().chain(&commands(data)).filter(|command| command.header[1] == 0x20) {
        let duration = command.duration.context("no duration")?;
        assert!(duration.nanos % 50_000_000 == 0 && (duration.seconds, duration.nanos) > (0, 0), "{duration:?}");
    }
    Ok((texts(headers), texts(data), logged(broker, begin)))
}

fn assert_all_same(seen: &[Shown], told: [&str; 2], in_log: &str) {
    let (headers, data, log) = &seen[0];
    assert!(headers.contains(&told[0].to_owned()), "{headers:#?}");
    assert!(data.contains(&told[1].to_owned()), "{data:#?}");
    assert!(log.iter().any(|line| line.contains("header=\"00200080\"") && line.contains(in_log)), "{log:#?}");
    for other in &seen[1..] {
        assert_eq!(*other, seen[0]);
    }
}

#[test]
fn the_length_of_a_pin_is_nowhere_with_real_readers() -> anyhow::Result<()> {
    tell(async {
        let (mut random, mut seen) = (fastrand::Rng::with_seed(seed()?), Vec::new());
        for digits in LENGTHS {
            // As in `with_pin`, the card's PIN has no owner.
            let pin: &str = random_pin(&mut random, digits).leak();
            let wrong = repeat_with(|| random_pin(&mut random, digits)).find(|wrong| *wrong != pin);
            let wrong = wrong.context("no end")?;
            let options = CardOptions { pin: pin.as_bytes(), ..CardOptions::default() };
            let world = PcscWorld::new("log.apdus = true", options).await?;
            seen.push(shown(&world.broker, PCSC_READER, [&wrong, pin]).await?);
        }
        assert_all_same(&seen, ["2 00200080 [] 63Cx masked", "2 00200080 [] 63C2 masked"], "63Cx");
        Ok(())
    })
}

#[test]
fn the_length_of_a_pin_is_nowhere_with_simulated_readers() -> anyhow::Result<()> {
    tell(async {
        let broker = Setup::simulated(1)?.configuration("log.apdus = true").start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let (mut random, mut seen) = (fastrand::Rng::with_seed(seed()?), Vec::new());
        // The card has a PIN of eight digits, and says so by its status word. That is not shown.
        for digits in [4, 6, 10, 12] {
            let pins = [(); 2].map(|()| random_pin(&mut random, digits));
            seen.push(shown(&broker, READER, [&pins[0], &pins[1]]).await?);
        }
        assert_all_same(&seen, ["2 00200080 [] error masked"; 2], "error");
        Ok(())
    })
}
