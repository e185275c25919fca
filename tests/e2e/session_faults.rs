//! Sessions whose card, driver, pcscd or broker goes away: every message is answered, then the status gives the reason.

use std::time::Duration;

use cardbroker_client::ReaderState;
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_proto::v1::{CardRequirement, SessionOpen, TurnOptions};
use rustix::process::Signal;

use crate::{
    conversation::{Conversation, opening},
    wire::stub,
    world::{
        COUNT, INCREMENT, LONG, PROTECTED, PcscWorld, READER, Stage, VERIFY, answers, fault, over_both_backends, slow,
        tell, unit, wait_for,
    },
};

over_both_backends! { T1:
    a_removal_during_a_command_ends_the_session_after_answers,
    an_idle_session_gets_the_removal_of_its_card,
    a_failed_exchange_ends_the_session_and_the_card_recovers,
    a_session_can_wait_for_a_card,
    a_stopping_broker_finishes_the_sessions_command_in_flight,
}

/// The terms of a turn that waits for a card.
fn awaited() -> Option<TurnOptions> {
    Some(TurnOptions { card: CardRequirement::Awaited.into(), ..TurnOptions::default() })
}

/// Whether all but the last of `heard` report that a message was not sent.
fn not_sent(heard: &[String]) -> bool {
    heard.iter().all(|answer| answer.contains(": failed ") && answer.ends_with(" not_sent"))
}

async fn a_removal_during_a_command_ends_the_session_after_answers(stage: Stage) -> anyhow::Result<()> {
    let stub = stub(&stage.broker).await?;
    let mut session = Conversation::open(&stub, opening(stage.reader)).await?;
    session.transmit(&[INCREMENT, &fault(1, 50, 1500), INCREMENT]);
    session.transmit(&[INCREMENT]);
    session.reset_card(false);
    session.restart(&[INCREMENT]);
    let heard = session.rest().await;
    assert_eq!(heard[0], "1: 00000001 9000; stopped at 1: CARD_REMOVED unknown");
    assert!(not_sent(&heard[1..4]), "{heard:?}");
    assert!(heard[4] == "over: FailedPrecondition CARD_REMOVED not_sent", "{heard:?}");
    let patient = stage.unit(&[INCREMENT]).wait_for_card().send().await?;
    assert_eq!(answers(&patient), ["00000001 9000"], "another card");
    Ok(())
}

async fn an_idle_session_gets_the_removal_of_its_card(stage: Stage) -> anyhow::Result<()> {
    let stub = stub(&stage.broker).await?;
    let mut session = Conversation::open(&stub, opening(stage.reader)).await?;
    assert_eq!(session.run(&[&fault(2, 100, 0xFFFF)]).await, "1: 9000");
    assert_eq!(session.answer().await, "over: FailedPrecondition CARD_REMOVED not_sent");
    let refused = Conversation::ask(&stub, opening(stage.reader)).await?.answer().await;
    assert_eq!(refused, "over: FailedPrecondition NO_CARD not_sent");
    Ok(())
}

async fn a_failed_exchange_ends_the_session_and_the_card_recovers(stage: Stage) -> anyhow::Result<()> {
    let stub = stub(&stage.broker).await?;
    let mut session = Conversation::open(&stub, opening(stage.reader)).await?;
    session.transmit(&[VERIFY]);
    session.transmit(&[&fault(6, 0, 0), INCREMENT]);
    session.transmit(&[INCREMENT]);
    let heard = session.rest().await;
    assert_eq!(heard[..2], ["1: 9000", "2: failed CARD_LOST unknown"]);
    assert!(not_sent(&heard[2..3]), "{heard:?}");
    assert_eq!(heard[3..], ["over: Aborted CARD_LOST not_sent"]);
    let next = stage.unit(&[INCREMENT, PROTECTED]).wait_for_card().send().await?;
    assert_eq!(answers(&next), ["00000001 9000", "6982"]);
    Ok(())
}

async fn a_session_can_wait_for_a_card(stage: Stage) -> anyhow::Result<()> {
    let stub = stub(&stage.broker).await?;
    assert_eq!(stage.run(&[&fault(2, 0, 1500)]).await?, ["9000"]);
    wait_for(&stage.broker, stage.reader, ReaderState::Empty).await?;
    let open = SessionOpen { turn: awaited(), ..opening(stage.reader) };
    let mut session = Conversation::open(&stub, open).await?;
    assert_eq!(session.run(&[INCREMENT]).await, "1: 00000001 9000");
    Ok(())
}

async fn a_stopping_broker_finishes_the_sessions_command_in_flight(mut stage: Stage) -> anyhow::Result<()> {
    let stub = stub(&stage.broker).await?;
    let mut session = Conversation::open(&stub, opening(stage.reader)).await?;
    let mut waiting = Conversation::ask(&stub, opening(stage.reader)).await?;
    assert_eq!(waiting.hear().await, "ahead 1");
    session.transmit(&[COUNT]);
    session.transmit(&[&slow(1000), INCREMENT]);
    session.transmit(&[INCREMENT]);
    assert_eq!(session.answer().await, "1: 00000001 9000");
    stage.broker.signal(Signal::TERM)?;
    assert_eq!(waiting.answer().await, "over: Unavailable SHUTTING_DOWN not_sent");
    let heard = session.rest().await;
    assert_eq!(heard.len(), 3, "{heard:?}");
    // Unless the signal was faster than the card.
    assert!(heard[0] == "2: 9000; stopped at 1: LEASE_ENDED not_sent" || not_sent(&heard[..1]), "{heard:?}");
    assert!(not_sent(&heard[1..2]), "{heard:?}");
    assert_eq!(heard[2], "over: Unavailable SHUTTING_DOWN not_sent");
    assert_eq!(stage.broker.wait()?.code(), Some(0));
    Ok(())
}

#[test]
fn a_hanging_driver_ends_the_session_with_answers_in_time() -> anyhow::Result<()> {
    tell(async {
        let rule = "[[reader]]\nmatch = \".*\"\nexchange_timeout = \"1s\"\n";
        let world = PcscWorld::new(rule, CardOptions::default()).await?;
        let (stub, client) = (stub(&world.broker).await?, world.broker.client().await?);
        let mut session = Conversation::open(&stub, opening(READER)).await?;
        assert_eq!(session.run(&[VERIFY]).await, "1: 9000");
        world.card.hang_next(LONG);
        session.transmit(&[INCREMENT, INCREMENT]);
        session.transmit(&[INCREMENT]);
        session.reset_card(false);
        session.transmit(&[INCREMENT]);
        assert!(world.card.wait_until(LONG, |seen| seen.hanging));
        let waiting = tokio::spawn(unit(&client, READER, &[COUNT]).send());
        let patient = tokio::spawn(unit(&client, READER, &[PROTECTED]).wait_for_card().send());
        let heard = session.rest().await;
        assert!(world.card.wait_until(Duration::ZERO, |seen| seen.hanging), "they came after the hang: {heard:?}");
        assert_eq!(heard[0], "2: failed READER_UNRESPONSIVE unknown");
        assert!(heard.len() == 5 && not_sent(&heard[1..4]), "{heard:?}");
        assert_eq!(heard[4], "over: Unavailable READER_UNRESPONSIVE not_sent");
        assert_eq!(crate::world::told(&waiting.await?.unwrap_err()), "READER_UNRESPONSIVE not_sent");
        wait_for(&world.broker, READER, ReaderState::Unresponsive).await?;
        let refused = Conversation::ask(&stub, opening(READER)).await?.answer().await;
        assert_eq!(refused, "over: Unavailable READER_UNRESPONSIVE not_sent");

        world.card.resume();
        assert_eq!(answers(&patient.await??), ["6982"], "the card was reset before anyone had it");
        assert_eq!(world.card.seen().by_instruction[0x12], 1, "nothing behind the command that hung was sent");
        Ok(())
    })
}

#[test]
fn sessions_end_with_pcscd_and_open_again_after_it() -> anyhow::Result<()> {
    tell(async {
        let mut world = PcscWorld::usual().await?;
        let stub = stub(&world.broker).await?;
        let mut idle = Conversation::open(&stub, opening(READER)).await?;
        assert_eq!(idle.run(&[INCREMENT]).await, "1: 00000001 9000");
        world.pcscd.restart()?;
        assert_eq!(idle.answer().await, "over: Unavailable PCSC_UNAVAILABLE not_sent");

        let open = SessionOpen { turn: awaited(), ..opening(READER) };
        let mut busy = Conversation::open(&stub, open.clone()).await?;
        busy.transmit(&[INCREMENT, &slow(5000), INCREMENT]);
        busy.transmit(&[INCREMENT]);
        assert!(world.card.wait_until(LONG, |seen| seen.by_instruction[0x16] == 1));
        world.pcscd.kill()?;
        let heard = busy.rest().await;
        // pcscd's library reports a failed exchange, unless the broker's other connection has noticed the end first.
        assert!(
            heard[0].starts_with("1: 00000002 9000; stopped at 1: ") && heard[0].ends_with(" unknown"),
            "{heard:?}"
        );
        assert!(heard.len() == 3 && not_sent(&heard[1..2]), "{heard:?}");
        let reasons = ["over: Unavailable PCSC_UNAVAILABLE not_sent", "over: Aborted CARD_LOST not_sent"];
        assert!(reasons.contains(&&*heard[2]), "{heard:?}");
        assert_eq!(world.card.seen().by_instruction[0x12], 2, "and nothing twice");

        world.pcscd.restart()?;
        let mut again = Conversation::open(&stub, open).await?;
        assert!(again.run(&[INCREMENT]).await.ends_with("00000003 9000"));
        Ok(())
    })
}
