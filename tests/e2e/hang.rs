//! A driver call that does not return: the reader's state shows it, callers are answered in time, and other readers are
//! unaffected.

use std::time::{Duration, Instant};

use cardbroker_client::ReaderState;
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{broker::Setup, pcscd::Pcscd},
};

use crate::world::{COUNT, INCREMENT, LONG, READER, answers, tell, told, unit, wait_for};

/// A reader with a separate driver: slots of one driver may block each other.
const READER_OF_ANOTHER_DRIVER: &str = "readers/virtual-pcd-b-00-00";
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(1);

#[test]
fn a_hanging_driver_affects_its_own_reader_only() -> anyhow::Result<()> {
    tell(async {
        let pcscd = Pcscd::start(4)?;
        let card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
        let _other_card = VirtualCard::insert(pcscd.port(2), CardOptions::default())?;
        let rule = "[[reader]]\nmatch = \".*\"\nexchange_timeout = \"1s\"\n";
        let broker = Setup::on(&pcscd)?.configuration(rule).start()?;
        let before = wait_for(&broker, READER, ReaderState::Ready).await?;
        wait_for(&broker, READER_OF_ANOTHER_DRIVER, ReaderState::Ready).await?;
        let (client, other) = (broker.client().await?, broker.client().await?);

        card.hang_next(LONG);
        let asked = Instant::now();
        let in_flight = tokio::spawn(unit(&client, READER, &[INCREMENT, INCREMENT]).send());
        assert!(card.wait_until(LONG, |seen| seen.hanging));
        let waiting = tokio::spawn(unit(&client, READER, &[INCREMENT]).send());
        let patient = tokio::spawn(unit(&client, READER, &[COUNT]).wait_for_card().wait_timeout(LONG).send());

        let mut served = 0;
        while !in_flight.is_finished() {
            unit(&other, READER_OF_ANOTHER_DRIVER, &[COUNT]).send().await?;
            served += 1;
        }
        assert_eq!(told(&in_flight.await?.unwrap_err()), "READER_UNRESPONSIVE unknown");
        assert_eq!(told(&waiting.await?.unwrap_err()), "READER_UNRESPONSIVE not_sent");
        let took = asked.elapsed();
        assert!(took >= EXCHANGE_TIMEOUT, "answered after {took:?}");
        assert!(card.wait_until(Duration::ZERO, |seen| seen.hanging), "they were answered after the hang");
        assert!(served > 1, "the other reader waited for the hang");
        wait_for(&broker, READER, ReaderState::Unresponsive).await?;
        let refused = unit(&client, READER, &[INCREMENT]).send().await.unwrap_err();
        assert_eq!(told(&refused), "READER_UNRESPONSIVE not_sent");
        assert!(refused.retry_after() > Some(Duration::ZERO));

        let resets = card.resets_seen();
        card.resume();
        let after = patient.await??;
        assert_eq!(answers(&after), ["00000002 9000"], "the second command of the unit that hung was never sent");
        assert!(card.resets_seen() > resets, "the card was reset before it was used again");
        assert_ne!(wait_for(&broker, READER, ReaderState::Ready).await?.insertion_id, before.insertion_id);
        Ok(())
    })
}

#[test]
fn the_broker_stops_in_time_although_a_driver_hangs() -> anyhow::Result<()> {
    tell(async {
        let pcscd = Pcscd::start(1)?;
        let card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
        let mut broker = Setup::on(&pcscd)?.configuration("shutdown.grace = \"500ms\"").start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let client = broker.client().await?;
        card.hang_next(LONG);
        let in_flight = tokio::spawn(unit(&client, READER, &[INCREMENT]).send());
        assert!(card.wait_until(LONG, |seen| seen.hanging));
        assert_eq!(broker.stop()?.code(), Some(6), "the grace was not enough");
        assert!(card.wait_until(Duration::ZERO, |seen| seen.hanging), "it waited for the driver");
        assert!(told(&in_flight.await?.unwrap_err()).ends_with("unknown"));
        Ok(())
    })
}
