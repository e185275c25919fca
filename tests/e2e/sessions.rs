//! Graceful sessions over both backends: messages and their answers, and in-band failures.

use cardbroker_proto::v1::{
    CardReset, SessionOpen, TurnOptions, open_session_request::Request, open_session_response::Response,
};

use crate::{
    conversation::{Conversation, milliseconds, opening},
    wire::{Stub, apdu, request, stub, transmit, waiting_for},
    world::{COUNT, INCREMENT, PROTECTED, Stage, VERIFY, over_both_backends},
};

over_both_backends! { T1:
    answers_come_in_the_order_of_the_messages,
    the_broker_sends_headers_before_the_first_message,
    an_opened_session_gets_insertion_state_tag_and_atr,
    waiting_sessions_get_their_queue_position,
    a_malformed_message_fails_the_following_until_a_restart,
    status_words_are_no_failures,
    a_reset_clears_the_verification_and_returns_the_atr,
    a_unit_waits_for_the_callers_own_session,
    conditions_are_compared_when_the_turn_comes,
    an_open_that_times_out_is_a_queue_timeout,
}

mod strict_t0 {
    use super::*;
    over_both_backends! { T0: a_command_too_long_for_t0_fails_the_following_messages }
    async fn a_command_too_long_for_t0_fails_the_following_messages(stage: Stage) -> anyhow::Result<()> {
        super::a_command_too_long_for_t0_fails_the_following_messages(stage).await
    }
}

/// Opens a session at the stage's reader.
async fn session(stage: &Stage) -> anyhow::Result<(Stub, Conversation)> {
    let stub = stub(&stage.broker).await?;
    let session = Conversation::open(&stub, opening(stage.reader)).await?;
    Ok((stub, session))
}

async fn answers_come_in_the_order_of_the_messages(stage: Stage) -> anyhow::Result<()> {
    let (_, mut session) = session(&stage).await?;
    // More than may be unanswered: the broker goes on reading as it answers.
    for message in 1..=100 {
        session.transmit(&[INCREMENT, if message % 7 == 0 { "8016000002000A" } else { COUNT }]);
    }
    let answered = session.answers(100).await;
    let expected = |(index, answer): (usize, &String)| answer.starts_with(&format!("{0}: {0:08X} 9000, ", index + 1));
    assert!(answered.iter().enumerate().all(|answer| expected((answer.0, answer.1))), "{answered:#?}");
    assert_eq!(session.close().await, ["over: OK"]);
    Ok(())
}

async fn the_broker_sends_headers_before_the_first_message(stage: Stage) -> anyhow::Result<()> {
    let mut session = Conversation::start(&stub(&stage.broker).await?, &[]).await?;
    session.say(Request::Open(opening(stage.reader)), false);
    assert_eq!(session.answer().await, "opened");
    Ok(())
}

async fn an_opened_session_gets_insertion_state_tag_and_atr(stage: Stage) -> anyhow::Result<()> {
    let stub = stub(&stage.broker).await?;
    let reader = crate::world::wait_for(&stage.broker, stage.reader, cardbroker_client::ReaderState::Ready).await?;
    let mut tags = vec![stage.unit(&[COUNT]).send().await?.state_tag];
    for (reset, is_reset) in [(CardReset::Unspecified, false), (CardReset::Warm, true)] {
        let turn = TurnOptions { reset_before: reset.into(), ..TurnOptions::default() };
        let open = SessionOpen { turn: Some(turn), ..opening(stage.reader) };
        let mut session = Conversation::ask(&stub, open).await?;
        let opened = loop {
            match session.message().await? {
                Some(Response::Opened(opened)) => break opened,
                Some(Response::QueuePosition(_)) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((&opened.insertion_id, &opened.atr), (&reader.insertion_id, &reader.atr));
        assert_eq!(opened.was_reset, is_reset);
        assert!(opened.queue_duration.is_some());
        assert!(!tags.contains(&opened.state_tag), "{tags:?} {opened:?}");
        tags.push(opened.state_tag);
        assert_eq!(session.close().await, ["over: OK"]);
    }
    Ok(())
}

async fn waiting_sessions_get_their_queue_position(stage: Stage) -> anyhow::Result<()> {
    let stub = stub(&stage.broker).await?;
    let busy = stage.keep_busy(1000).await?;
    let mut waiting = Conversation::ask(&stub, opening(stage.reader)).await?;
    assert_eq!(waiting.hear().await, "ahead 1", "the unit that runs");
    let mut last = Conversation::ask(&stub, opening(stage.reader)).await?;
    assert_eq!(last.hear().await, "ahead 2", "the unit that runs, and the session before this one");
    busy.await??;
    assert_eq!(last.hear().await, "ahead 1", "the session before this one has its turn");
    assert_eq!(waiting.close().await, ["opened", "over: OK"]);
    assert_eq!(last.answer().await, "opened");
    assert_eq!(last.close().await, ["over: OK"]);
    Ok(())
}

async fn a_malformed_message_fails_the_following_until_a_restart(stage: Stage) -> anyhow::Result<()> {
    let (_, mut session) = session(&stage).await?;
    assert_eq!(session.run(&[VERIFY]).await, "1: 9000");
    session.transmit(&[INCREMENT, "00A4040002F0"]);
    session.transmit(&[INCREMENT]);
    session.reset_card(false);
    session.transmit(&[]);
    session.restart(&[PROTECTED, COUNT]);
    session.transmit(&[INCREMENT]);
    let heard = session.answers(6).await;
    let preceding = |id| format!("{id}: failed PRECEDING_FAILED not_sent");
    assert_eq!(heard[0], "2: failed INVALID_REQUEST not_sent");
    assert_eq!(heard[1..4], [preceding(3), preceding(4), preceding(5)]);
    assert!(heard[4].ends_with(" 9000, 00000003 9000"), "the PIN is still there, and nothing was sent: {heard:?}");
    assert_eq!(heard[5], "7: 00000001 9000");
    session.transmit(&[]);
    session.restart(&["00"]);
    session.restart(&[INCREMENT]);
    let heard = session.answers(3).await;
    assert_eq!(heard[..2], ["8: failed INVALID_REQUEST not_sent", "9: failed INVALID_REQUEST not_sent"]);
    assert_eq!(heard[2], "10: 00000002 9000");
    Ok(())
}

async fn a_command_too_long_for_t0_fails_the_following_messages(stage: Stage) -> anyhow::Result<()> {
    let (_, mut session) = session(&stage).await?;
    let too_long = format!("80140000000100{}", "55".repeat(256));
    session.transmit(&[&too_long]);
    session.transmit(&[INCREMENT]);
    session.reset_card(true);
    session.restart(&[COUNT]);
    session.transmit(&[INCREMENT]);
    assert_eq!(
        session.answers(5).await,
        [
            "1: failed UNSUPPORTED_LENGTH not_sent",
            "2: failed PRECEDING_FAILED not_sent",
            "3: failed PRECEDING_FAILED not_sent",
            "4: 00000001 9000",
            "5: 00000001 9000",
        ]
    );
    Ok(())
}

async fn status_words_are_no_failures(stage: Stage) -> anyhow::Result<()> {
    let (_, mut session) = session(&stage).await?;
    session.transmit(&[PROTECTED]);
    session.transmit(&["00200080083939393939393939", INCREMENT]);
    session.transmit(&[INCREMENT]);
    assert_eq!(
        session.answers(3).await,
        ["1: 6982", "2: 63C2; stopped at 1: STATUS_WORD not_sent", "3: 00000001 9000"]
    );
    Ok(())
}

async fn a_reset_clears_the_verification_and_returns_the_atr(stage: Stage) -> anyhow::Result<()> {
    let atr = crate::world::wait_for(&stage.broker, stage.reader, cardbroker_client::ReaderState::Ready).await?.atr;
    let atr = cardbroker_client::hex::format(&atr);
    let (_, mut session) = session(&stage).await?;
    for cold in [false, true] {
        session.transmit(&[VERIFY, PROTECTED]);
        session.reset_card(cold);
        session.transmit(&[PROTECTED]);
        let id = if cold { 4 } else { 1 };
        let heard = session.answers(3).await;
        assert!(heard[0].starts_with(&format!("{id}: 9000, ")) && heard[0].ends_with(" 9000"), "{heard:?}");
        assert_eq!(heard[1..], [format!("{}: reset {atr}", id + 1), format!("{}: 6982", id + 2)]);
    }
    assert_eq!(session.close().await, ["over: OK"]);
    Ok(())
}

async fn a_unit_waits_for_the_callers_own_session(stage: Stage) -> anyhow::Result<()> {
    let (mut stub, mut session) = session(&stage).await?;
    let beside = request(stage.reader, &[INCREMENT]);
    let waiting = {
        let (mut stub, request) = (stub.clone(), beside.clone());
        tokio::spawn(async move { transmit(&mut stub, request).await })
    };
    assert_eq!(session.hear().await, "waiters 1");
    let now = cardbroker_proto::v1::TransmitRequest { turn: waiting_for(milliseconds(0)), ..beside };
    let refused = transmit(&mut stub, now).await.expect_err("it had a turn");
    assert_eq!(crate::wire::told(&refused), "DeadlineExceeded QUEUE_TIMEOUT not_sent");
    assert_eq!(session.run(&[INCREMENT]).await, "1: 00000001 9000");
    assert!(!waiting.is_finished());
    assert_eq!(session.close().await, ["over: OK"]);
    assert_eq!(apdu(&waiting.await??.results[0]).data, [0, 0, 0, 2]);
    Ok(())
}

/// An `open` with these terms of a turn.
fn on_terms(reader: &str, turn: TurnOptions) -> SessionOpen {
    SessionOpen { turn: Some(turn), ..opening(reader) }
}

async fn conditions_are_compared_when_the_turn_comes(stage: Stage) -> anyhow::Result<()> {
    let stub = stub(&stage.broker).await?;
    let first = stage.unit(&[INCREMENT]).send().await?;
    let (insertion, tag) = (first.insertion_id.clone(), first.state_tag.clone());
    let fits = on_terms(
        stage.reader,
        TurnOptions { if_insertion_id: insertion.clone(), if_state_tag: tag, ..TurnOptions::default() },
    );
    let session = Conversation::open(&stub, fits.clone()).await?;
    // The tag is valid until this session, ahead in the queue, has ended.
    let mut stale = Conversation::ask(&stub, fits.clone()).await?;
    assert_eq!(session.close().await, ["over: OK"]);
    assert_eq!(stale.answer().await, "over: Aborted STATE_CHANGED not_sent");
    let other = on_terms(stage.reader, TurnOptions { if_insertion_id: "another".into(), ..TurnOptions::default() });
    assert_eq!(Conversation::ask(&stub, other).await?.answer().await, "over: Aborted INSERTION_CHANGED not_sent");
    let same_card = on_terms(stage.reader, TurnOptions { if_insertion_id: insertion, ..TurnOptions::default() });
    assert_eq!(Conversation::open(&stub, same_card).await?.close().await, ["over: OK"]);
    Ok(())
}

async fn an_open_that_times_out_is_a_queue_timeout(stage: Stage) -> anyhow::Result<()> {
    let stub = stub(&stage.broker).await?;
    let busy = stage.keep_busy(1000).await?;
    for wait in [0, 50] {
        let open = SessionOpen { turn: waiting_for(milliseconds(wait)), ..opening(stage.reader) };
        let told = Conversation::ask(&stub, open).await?.answer().await;
        assert_eq!(told, "over: DeadlineExceeded QUEUE_TIMEOUT not_sent");
    }
    assert!(!busy.is_finished());
    // A request that is withdrawn while it waits gives its place to the next.
    Conversation::ask(&stub, opening(stage.reader)).await?.reset();
    assert_eq!(Conversation::open(&stub, opening(stage.reader)).await?.close().await, ["over: OK"]);
    busy.await??;
    Ok(())
}
