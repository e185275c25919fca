//! One client and one card, over both backends: the simulated readers, and a real pcscd with the same card inserted.

use std::time::{Duration, Instant};

use cardbroker_client::{CardReset, Command, ErrorReason, ReaderState, StatusWordSource, hex};

use crate::world::{
    COUNT, GET_RESPONSE, INCREMENT, PROTECTED, SELECT, SELECT_AND_FETCH, Stage, VERIFY, answers, arrived, fault,
    over_all_stacks, over_both_backends, refusal, slow, wait_for, wait_until,
};

const FCI_START: &str = "6F118406F04341524401";

// After a failed exchange, and with a mute card, an outer broker resets the card: another insertion for its programs.
over_all_stacks! { T1:
    select_and_fetch_are_one_answer,
    raw_commands_are_sent_unchanged,
    a_wrong_le_is_corrected,
    long_answers_are_complete,
    extended_length_goes_through,
    a_continuing_instruction_of_the_cards_own_is_used,
    a_reset_before_the_unit_clears_the_verification,
    a_refused_pin_stops_the_unit,
    conditions_are_compared_when_the_turn_comes,
    a_unit_waits_for_a_later_card,
    a_card_removed_during_a_command_means_unknown_delivery,
    a_swapped_card_is_another_insertion,
    a_unit_that_began_finishes_without_its_client,
    the_deadline_is_answered_in_time;
    not nested:
    a_failed_exchange_with_the_card_present_is_recovered,
    a_mute_card_is_reported_and_recovers_when_reinserted
}

mod strict_t0 {
    use super::*;
    over_both_backends! { T0: a_t0_card_is_used_like_any_other }
    async fn a_t0_card_is_used_like_any_other(stage: Stage) -> anyhow::Result<()> {
        super::a_t0_card_is_used_like_any_other(stage).await
    }
}

async fn select_and_fetch_are_one_answer(stage: Stage) -> anyhow::Result<()> {
    let transmitted = stage.unit(&[SELECT_AND_FETCH]).send().await?;
    let [result] = &*transmitted.results else { panic!("{transmitted:?}") };
    assert!(hex::format(&result.data).starts_with(FCI_START) && result.data.len() == 19);
    assert_eq!(
        (result.status_word, result.status_word_source, result.get_response_count),
        (0x9000, StatusWordSource::GetResponse, 1)
    );
    assert!(!transmitted.insertion_id.is_empty() && !transmitted.state_tag.is_empty());
    Ok(())
}

async fn raw_commands_are_sent_unchanged(stage: Stage) -> anyhow::Result<()> {
    let transmitted = stage.raw_unit(&[SELECT, GET_RESPONSE, GET_RESPONSE, "00B2010405"]).send().await;
    let error = transmitted.unwrap_err();
    assert_eq!(
        error.reason(),
        Some(ErrorReason::StatusWord),
        "GET RESPONSE after GET RESPONSE is 6D00, which stops the unit"
    );
    let cardbroker_client::Error::Stopped { partial, stop } = error else { panic!("{error}") };
    let told = answers(&partial);
    assert_eq!((&*told[0], &*told[2], stop.index), ("6113", "6D00", 3));
    assert!(told[1].starts_with(FCI_START), "{told:?}");
    assert_eq!(answers(&stage.raw_unit(&["00B2010405"]).send().await?), ["6C10"]);
    Ok(())
}

async fn a_wrong_le_is_corrected(stage: Stage) -> anyhow::Result<()> {
    let before = stage.run(&[COUNT]).await?;
    let transmitted = stage.unit(&["00B2010400"]).send().await?;
    assert_eq!(transmitted.results[0].status_word_source, StatusWordSource::CorrectedCommand);
    assert_eq!((transmitted.results[0].data.len(), transmitted.results[0].status_word), (16, 0x9000));
    assert_eq!((&*before[0], &*stage.run(&[COUNT]).await?[0]), ("00000001 9000", "00000004 9000"));
    Ok(())
}

async fn long_answers_are_complete(stage: Stage) -> anyhow::Result<()> {
    let transmitted = stage.unit(&["00CA010000", "00B0000000", "00B0010000"]).send().await?;
    let lengths: Vec<_> = transmitted.results.iter().map(|result| result.data.len()).collect();
    assert_eq!(lengths, [700, 256, 256]);
    assert_eq!((transmitted.results[1].data[255], transmitted.results[2].data[0]), (4, 5));
    Ok(())
}

async fn extended_length_goes_through(stage: Stage) -> anyhow::Result<()> {
    let data: String = (0..20_000).map(|index| format!("{:02X}", index % 256)).collect();
    assert_eq!(stage.run(&[&format!("80140000004E20{data}0000")]).await?, [format!("{data} 9000")]);
    let whole_file = stage.unit(&["00B00000000000"]).send().await?;
    assert_eq!(whole_file.results[0].data.len(), 1000);
    Ok(())
}

async fn a_continuing_instruction_of_the_cards_own_is_used(stage: Stage) -> anyhow::Result<()> {
    let command = || Command::new(hex::parse("8018000000").unwrap());
    let usual = stage.client.transmit(stage.reader).command(command());
    assert_eq!(refusal(usual).await?, "RESPONSE_LOST executed at 0 after 1 answers");
    let own = stage.client.transmit(stage.reader).command(command().continue_instruction(0xA5)).send().await?;
    assert_eq!((own.results[0].data.len(), own.results[0].status_word), (5, 0x9000));
    Ok(())
}

async fn a_reset_before_the_unit_clears_the_verification(stage: Stage) -> anyhow::Result<()> {
    assert!(stage.run(&[VERIFY, PROTECTED]).await?[1].ends_with("9000"));
    assert!(stage.run(&[PROTECTED]).await?[0].ends_with("9000"), "still verified for this caller");
    let after_reset = stage.unit(&[PROTECTED]).reset_before(CardReset::Warm).send().await?;
    assert_eq!((&*answers(&after_reset)[0], after_reset.was_reset), ("6982", true));
    Ok(())
}

async fn a_refused_pin_stops_the_unit(stage: Stage) -> anyhow::Result<()> {
    let wrong = "00200080083939393939393939";
    assert_eq!(refusal(stage.unit(&[wrong, INCREMENT])).await?, "STATUS_WORD not_sent at 1 after 1 answers");
    assert_eq!(stage.run(&[INCREMENT]).await?, ["00000001 9000"], "the command behind it was not sent");
    // The PIN guard would keep the same PIN from the card.
    let another = Command::new(hex::parse("00200080083838383838383838")?).continue_on(0x63C0, 0xFFF0);
    let unit = stage.client.transmit(stage.reader).command(another).command(hex::parse(INCREMENT)?);
    assert_eq!(answers(&unit.send().await?), ["63C1", "00000002 9000"]);
    Ok(())
}

async fn conditions_are_compared_when_the_turn_comes(stage: Stage) -> anyhow::Result<()> {
    let first = stage.unit(&[INCREMENT]).send().await?;
    let second =
        stage.unit(&[INCREMENT]).if_state_tag(&first.state_tag).if_insertion_id(&first.insertion_id).send().await?;
    let stale = stage.unit(&[INCREMENT]).if_state_tag(&first.state_tag);
    assert_eq!(refusal(stale).await?, "STATE_CHANGED not_sent");
    let other_card = stage.unit(&[INCREMENT]).if_insertion_id("another");
    assert_eq!(refusal(other_card).await?, "INSERTION_CHANGED not_sent");

    // A request behind a running unit is not refused before its turn.
    let busy = stage.keep_busy(300).await?;
    let asked = Instant::now();
    assert_eq!(refusal(stage.unit(&[INCREMENT]).if_state_tag(&second.state_tag)).await?, "STATE_CHANGED not_sent");
    assert!(asked.elapsed() > Duration::from_millis(100), "{:?}", asked.elapsed());
    busy.await??;
    assert_eq!(stage.run(&[INCREMENT]).await?, ["00000003 9000"], "nothing that was refused has run");
    Ok(())
}

async fn a_unit_waits_for_a_later_card(stage: Stage) -> anyhow::Result<()> {
    let mut watch = stage.client.watch();
    assert_eq!(stage.run(&[&fault(2, 0, 1500)]).await?, ["9000"]);
    wait_until(&mut watch, |watch| {
        watch.readers().get(stage.reader).is_some_and(|reader| reader.state() == ReaderState::Empty)
    })
    .await?;
    assert_eq!(refusal(stage.unit(&[COUNT])).await?, "NO_CARD not_sent");
    let not_that_long = stage.unit(&[COUNT]).wait_for_card().wait_timeout(Duration::from_millis(100));
    assert_eq!(refusal(not_that_long).await?, "QUEUE_TIMEOUT not_sent");
    let waited = stage.unit(&[COUNT]).wait_for_card().send().await?;
    assert_eq!(answers(&waited), ["00000001 9000"], "it is another card");
    assert!(waited.queue_duration > Duration::from_millis(300), "{:?}", waited.queue_duration);
    Ok(())
}

async fn a_card_removed_during_a_command_means_unknown_delivery(stage: Stage) -> anyhow::Result<()> {
    let gone = fault(1, 100, 2000);
    let leaving = stage.unit(&[INCREMENT, INCREMENT, &gone, INCREMENT]);
    let other = stage.broker.client().await?;
    let waiting = crate::world::unit(&other, stage.reader, &[COUNT]);
    let patient = crate::world::unit(&other, stage.reader, &[COUNT]).wait_for_card();
    let leaving = tokio::spawn(leaving.send());
    stage.until_busy().await?;
    let (waiting, patient) = tokio::join!(waiting.send(), patient.send());
    let leaving = leaving.await?;
    assert_eq!(crate::world::told(&leaving.unwrap_err()), "CARD_REMOVED unknown at 2 after 2 answers");
    assert_eq!(crate::world::told(&waiting.unwrap_err()), "CARD_REMOVED not_sent");
    assert_eq!(answers(&patient?), ["00000001 9000"]);
    Ok(())
}

async fn a_swapped_card_is_another_insertion(stage: Stage) -> anyhow::Result<()> {
    let before = stage.unit(&[INCREMENT]).send().await?;
    assert_eq!(stage.run(&[&fault(3, 0, 0)]).await?, ["9000"]);
    // Whatever the stack has noticed by now: the new card never silently answers a command meant for the old one.
    let mut after = stage.unit(&[INCREMENT]).if_insertion_id(&before.insertion_id).wait_for_card().send().await;
    if after.as_ref().err().is_some_and(|error| error.reason() != Some(ErrorReason::InsertionChanged)) {
        after = stage.unit(&[INCREMENT]).if_insertion_id(&before.insertion_id).wait_for_card().send().await;
    }
    assert_eq!(crate::world::told(&after.unwrap_err()), "INSERTION_CHANGED not_sent");
    let on_the_new_card = stage.unit(&[INCREMENT]).wait_for_card().send().await?;
    assert_eq!(answers(&on_the_new_card), ["00000001 9000"]);
    assert_ne!(on_the_new_card.insertion_id, before.insertion_id);
    Ok(())
}

async fn a_failed_exchange_with_the_card_present_is_recovered(stage: Stage) -> anyhow::Result<()> {
    let before = stage.unit(&[INCREMENT]).send().await?;
    for kind in [6, 7] {
        let failed = refusal(stage.unit(&[&fault(kind, 0, 0), INCREMENT])).await?;
        assert_eq!(failed, "CARD_LOST unknown");
    }
    let after = stage.unit(&[INCREMENT]).send().await?;
    assert_eq!(answers(&after), ["00000002 9000"], "the card is the same, and nothing ran twice");
    assert_ne!(after.insertion_id, before.insertion_id, "but the broker cannot know that");
    Ok(())
}

async fn a_mute_card_is_reported_and_recovers_when_reinserted(stage: Stage) -> anyhow::Result<()> {
    // Silent for more resets than the broker tries, then absent for a moment.
    stage.run(&[&fault(4, 200, 0)]).await?;
    assert_eq!(refusal(stage.unit(&[COUNT]).reset_before(CardReset::Warm)).await?, "RESET_FAILED not_sent");
    wait_for(&stage.broker, stage.reader, ReaderState::Mute).await?;
    assert_eq!(refusal(stage.unit(&[COUNT])).await?, "CARD_MUTE not_sent");
    Ok(())
}

async fn a_unit_that_began_finishes_without_its_client(stage: Stage) -> anyhow::Result<()> {
    let client = stage.broker.client().await?;
    let unit = crate::world::unit(&client, stage.reader, &[&slow(300), INCREMENT, INCREMENT]);
    let waiting = crate::world::unit(&client, stage.reader, &[INCREMENT]);
    let running = tokio::spawn(unit.send());
    stage.until_busy().await?;
    let waiting = arrived(&client, waiting).await?;
    running.abort();
    drop((running.await, waiting, client));
    let after = stage.unit(&[INCREMENT]).send().await?;
    assert_eq!(answers(&after), ["00000003 9000"], "both of the unit that had begun, none of the one that waited");
    Ok(())
}

async fn the_deadline_is_answered_in_time(stage: Stage) -> anyhow::Result<()> {
    let client = stage.broker.client().await?;
    let long = slow(900);
    let busy =
        crate::world::unit(&client, stage.reader, &[INCREMENT, &long, INCREMENT]).deadline(Duration::from_millis(500));
    let busy = tokio::spawn(busy.send());
    stage.until_busy().await?;
    let deadline = Duration::from_millis(200);
    let waiting = stage.unit(&[INCREMENT]).wait_timeout(deadline).deadline(deadline).send().await;
    let busy = busy.await?;
    assert_eq!(crate::world::told(&busy.unwrap_err()), "DEADLINE_NEAR unknown at 1 after 1 answers");
    assert_eq!(crate::world::told(&waiting.unwrap_err()), "QUEUE_TIMEOUT not_sent");
    assert_eq!(stage.run(&[INCREMENT]).await?, ["00000003 9000"], "the unit went on, the one that waited did not run");
    Ok(())
}

async fn a_t0_card_is_used_like_any_other(stage: Stage) -> anyhow::Result<()> {
    let told = stage.run(&[SELECT_AND_FETCH, "00B0000000", "8014000002ABCD00", "00B00000000200", "00200080"]).await?;
    assert!(told[0].starts_with(FCI_START), "{told:?}");
    assert_eq!((&*told[2], &*told[4]), ("ABCD 9000", "63C3"));
    assert_eq!((told[1].len(), told[3].len()), (2 * 256 + 5, 2 * 256 + 5));
    assert_eq!(answers(&stage.raw_unit(&["8014000002ABCD00"]).send().await?), ["6700"], "raw is not fitted to T=0");
    let too_long = format!("80140000000100{}", "55".repeat(256));
    assert_eq!(refusal(stage.unit(&[INCREMENT, &too_long])).await?, "UNSUPPORTED_LENGTH not_sent");
    assert_eq!(stage.run(&[INCREMENT]).await?, ["00000001 9000"], "nothing of that unit was sent");
    Ok(())
}
