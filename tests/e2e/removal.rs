//! Cards that are removed at the wrong moment, from a real reader.

use std::time::Duration;

use cardbroker_client::{ReaderState, hex};
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_tests::harness::habits::Habits;
use tokio::time::{sleep, timeout};

use crate::world::{
    COUNT, INCREMENT, LONG, PcscWorld, READER, answers, told, unit, wait_until, with_and_without_habits,
};

with_and_without_habits! {
    a_removal_during_a_command_reaches_every_request,
    the_answers_before_the_removal_are_returned,
    a_card_swapped_at_the_reset_of_a_session_is_found_within_a_second,
    a_swap_between_two_polls_is_a_new_insertion,
}

async fn a_removal_during_a_command_reaches_every_request(habits: Option<Habits>) -> anyhow::Result<()> {
    let world = PcscWorld::usual_with(habits).await?;
    let (client, other) = (world.broker.client().await?, world.broker.client().await?);
    let mut watch = other.watch();
    wait_until(&mut watch, |watch| !watch.readers().is_empty()).await?;

    world.card.hang_next(LONG);
    let in_flight = tokio::spawn(unit(&client, READER, &[INCREMENT]).send());
    assert!(world.card.wait_until(LONG, |seen| seen.hanging));
    let waiting = tokio::spawn(unit(&other, READER, &[INCREMENT]).send());
    let patient = tokio::spawn(unit(&other, READER, &[COUNT]).wait_for_card().send());
    // Both wait behind the hanging command: a third one that does not wait proves it.
    let busy = unit(&client, READER, &[COUNT]).wait_timeout(Duration::ZERO).send().await;
    assert_eq!(told(&busy.unwrap_err()), "QUEUE_TIMEOUT not_sent");

    world.card.pull();
    assert_eq!(told(&in_flight.await?.unwrap_err()), "CARD_REMOVED unknown");
    assert_eq!(told(&waiting.await?.unwrap_err()), "CARD_REMOVED not_sent");
    wait_until(&mut watch, |watch| watch.readers()[READER].state() == ReaderState::Empty).await?;

    world.card.swap(CardOptions::default());
    assert_eq!(answers(&patient.await??), ["00000001 9000"]);
    assert_eq!(
        world.card.seen().by_instruction[0x12],
        1,
        "the command in flight reached the card, the one behind it never"
    );
    Ok(())
}

async fn the_answers_before_the_removal_are_returned(habits: Option<Habits>) -> anyhow::Result<()> {
    let world = PcscWorld::usual_with(habits).await?;
    let client = world.broker.client().await?;
    let unit = tokio::spawn(unit(&client, READER, &[INCREMENT, INCREMENT, "801600000207D0", INCREMENT]).send());
    assert!(world.card.wait_until(LONG, |seen| seen.by_instruction[0x16] == 1));
    world.card.pull();
    let error = unit.await?.unwrap_err();
    assert_eq!(told(&error), "CARD_REMOVED unknown at 2 after 2 answers");
    let cardbroker_client::Error::Stopped { partial, .. } = error else { unreachable!() };
    assert_eq!(answers(&partial), ["00000001 9000", "00000002 9000"]);
    Ok(())
}

async fn a_card_swapped_at_the_reset_of_a_session_is_found_within_a_second(
    habits: Option<Habits>,
) -> anyhow::Result<()> {
    let world = PcscWorld::usual_with(habits).await?;
    let client = world.broker.client().await?;
    let mut watch = client.watch();
    wait_until(&mut watch, |watch| watch.readers().get(READER).is_some()).await?;
    for swap in 0..24 {
        let session = client.open_session(READER).wait_for_card().open().await?;
        session.transmit([hex::parse(INCREMENT)?]).send().await?;
        // At every part of the driver's poll, so that some swaps fall between two looks.
        sleep(Duration::from_millis(50) * (swap % 8)).await;
        world.card.pull();
        // The card is gone, so its reset fails.
        drop(session.close().await);
        world.card.swap(CardOptions { serial: swap, ..CardOptions::default() });
        let resets = world.card.resets_seen();
        let found = timeout(Duration::from_millis(1500), async {
            unit(&client, READER, &[COUNT]).wait_for_card().send().await
        });
        let found = found.await;
        assert!(matches!(&found, Ok(Ok(_))), "swap {swap}, {resets} resets: {found:?} {:?}", watch.readers());
    }
    Ok(())
}

async fn a_swap_between_two_polls_is_a_new_insertion(habits: Option<Habits>) -> anyhow::Result<()> {
    let world = PcscWorld::usual_with(habits).await?;
    let client = world.broker.client().await?;
    let mut watch = client.watch();
    wait_until(&mut watch, |watch| !watch.readers().is_empty()).await?;

    // Nobody uses the card, and the swap is still reported.
    let before = watch.readers()[READER].insertion_id.clone();
    world.card.swap(CardOptions { serial: 2, ..CardOptions::default() });
    let is_ready_anew = |watch: &cardbroker_client::Watch, before: &str| {
        let reader = &watch.readers()[READER];
        reader.state() == ReaderState::Ready && reader.insertion_id != before
    };
    wait_until(&mut watch, |watch| is_ready_anew(watch, &before)).await?;

    // While the card is in use, the new card never silently answers a command meant for the old one.
    let old = unit(&client, READER, &[INCREMENT]).send().await?;
    world.card.swap(CardOptions { serial: 3, ..CardOptions::default() });
    let next = unit(&client, READER, &[INCREMENT]).send().await.unwrap_err();
    assert!(
        matches!(&*told(&next), "CARD_LOST unknown" | "CARD_REMOVED unknown" | "CARD_REMOVED not_sent"),
        "{next:?}"
    );
    wait_until(&mut watch, |watch| is_ready_anew(watch, &old.insertion_id)).await?;
    let new = unit(&client, READER, &[INCREMENT]).wait_for_card().send().await?;
    assert_ne!(new.insertion_id, old.insertion_id);
    Ok(())
}
