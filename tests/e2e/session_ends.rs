//! The ends of sessions, and the card afterwards: graceful, abrupt, by the client's mistake, and by the deadline.

use anyhow::ensure;
use cardbroker_proto::v1::{Disposition, SessionOpen, SessionTransmit, TurnOptions, open_session_request::Request};
use cardbroker_tests::harness::run::cardbroker;

use crate::{
    conversation::{Conversation, GROUP, opening},
    wire::{Stub, apdu, request, stub, transmit},
    world::{COUNT, INCREMENT, LONG, PROTECTED, PcscWorld, READER, Stage, VERIFY, over_all_stacks, slow, tell},
};

over_all_stacks! { T1:
    a_half_close_completes_all_sent_messages,
    a_graceful_end_resets_the_card,
    a_card_left_as_it_is_serves_its_group_only,
    a_stream_reset_drops_unsent_commands,
    an_abrupt_end_resets_the_card_despite_leave,
    a_violation_ends_the_session_and_frees_the_card,
    a_deadline_on_the_stream_ends_the_session;
    not nested:
}

/// A member of `group`, with a connection of its own.
async fn member(stage: &Stage, group: &str, end: Disposition) -> anyhow::Result<(Stub, Conversation)> {
    let stub = stub(&stage.broker).await?;
    let open = SessionOpen { disposition: end.into(), ..opening(stage.reader) };
    let mut session = Conversation::start(&stub, &[(GROUP, group)]).await?;
    session.say(Request::Open(open), false);
    assert_eq!(session.answer().await, "opened");
    Ok((stub, session))
}

/// The answer to reading the protected file for a member of `group`, or for a process without one.
fn protected(stage: &Stage, group: Option<&str>) -> anyhow::Result<String> {
    let mut command = cardbroker(&stage.broker.endpoint(), &["transmit", stage.reader, PROTECTED])?;
    if let Some(group) = group {
        command.env(cardbroker_client::GROUP_VARIABLE, group);
    }
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

async fn a_half_close_completes_all_sent_messages(stage: Stage) -> anyhow::Result<()> {
    let mut session = Conversation::open(&stub(&stage.broker).await?, opening(stage.reader)).await?;
    session.transmit(&[&slow(200)]);
    for _ in 0..30 {
        session.transmit(&[INCREMENT]);
    }
    session.reset_card(false);
    session.transmit(&[INCREMENT]);
    let heard = session.close().await;
    assert_eq!((&*heard[0], &*heard[30], &*heard[32]), ("1: 9000", "31: 0000001E 9000", "33: 0000001F 9000"));
    assert_eq!(heard[33..], ["over: OK"]);
    // All sent at once, before the turn comes.
    let mut session = Conversation::ask(&stub(&stage.broker).await?, opening(stage.reader)).await?;
    session.transmit(&[INCREMENT]);
    assert_eq!(session.close().await, ["opened", "1: 00000020 9000", "over: OK"]);
    Ok(())
}

async fn a_graceful_end_resets_the_card(stage: Stage) -> anyhow::Result<()> {
    for end in [Disposition::Unspecified, Disposition::Reset] {
        let (_stub, mut session) = member(&stage, "family", end).await?;
        assert_eq!(session.run(&[VERIFY]).await, "1: 9000");
        assert_eq!(session.close().await, ["over: OK"]);
        assert_eq!(protected(&stage, Some("family"))?, "6982");
    }
    Ok(())
}

async fn a_card_left_as_it_is_serves_its_group_only(stage: Stage) -> anyhow::Result<()> {
    let (_stub, mut session) = member(&stage, "family", Disposition::Leave).await?;
    assert_eq!(session.run(&[VERIFY]).await, "1: 9000");
    assert_eq!(session.close().await, ["over: OK"]);
    assert!(protected(&stage, Some("family"))?.ends_with(" 9000"), "the PIN is there for the group");
    let (_stub, mut next) = member(&stage, "family", Disposition::Leave).await?;
    assert!(next.run(&[PROTECTED]).await.ends_with(" 9000"), "and for its next session");
    assert_eq!(next.close().await, ["over: OK"]);
    assert_eq!(protected(&stage, Some("neighbours"))?, "6982");
    assert_eq!(protected(&stage, Some("family"))?, "6982", "reset for the neighbours");

    let (_stub, mut session) = member(&stage, "family", Disposition::Leave).await?;
    assert_eq!(session.run(&[VERIFY]).await, "1: 9000");
    assert_eq!(session.close().await, ["over: OK"]);
    let (_stub, mut neighbour) = member(&stage, "neighbours", Disposition::Leave).await?;
    assert_eq!(neighbour.run(&[PROTECTED]).await, "1: 6982");
    Ok(())
}

async fn a_stream_reset_drops_unsent_commands(stage: Stage) -> anyhow::Result<()> {
    let stub = stub(&stage.broker).await?;
    let mut session = Conversation::open(&stub, opening(stage.reader)).await?;
    session.transmit(&[COUNT]);
    session.transmit(&[&slow(300), INCREMENT]);
    for _ in 0..20 {
        session.transmit(&[INCREMENT]);
    }
    // The second message is sent to the card as soon as the first one is answered.
    assert_eq!(session.answer().await, "1: 00000001 9000");
    session.reset();
    let next = transmit(&mut stub.clone(), request(stage.reader, &[INCREMENT, COUNT])).await?;
    let [increment, count] = &*next.results else { panic!("{next:?}") };
    assert_eq!(apdu(increment).data, [0, 0, 0, 1], "nothing behind the command in flight was sent");
    assert!(apdu(count).data[3] <= 4, "{next:?}");
    Ok(())
}

async fn an_abrupt_end_resets_the_card_despite_leave(stage: Stage) -> anyhow::Result<()> {
    let (_stub, mut session) = member(&stage, "family", Disposition::Leave).await?;
    assert_eq!(session.run(&[VERIFY]).await, "1: 9000");
    session.reset();
    let (_stub, mut next) = member(&stage, "family", Disposition::Leave).await?;
    assert_eq!(next.run(&[PROTECTED]).await, "1: 6982");
    Ok(())
}

async fn a_violation_ends_the_session_and_frees_the_card(stage: Stage) -> anyhow::Result<()> {
    let stub = stub(&stage.broker).await?;
    let unit = |id| {
        let commands = request("", &[INCREMENT]).commands;
        Some(Request::Transmit(SessionTransmit { id, commands }))
    };
    let invalid = "over: InvalidArgument INVALID_REQUEST not_sent";
    let again = Some(Request::Open(opening(stage.reader)));
    for mistake in [vec![again], vec![None], vec![unit(7), unit(7)], vec![unit(7), unit(6)]] {
        let (_, mut session) = member(&stage, "family", Disposition::Leave).await?;
        assert_eq!(session.run(&[VERIFY]).await, "1: 9000");
        let read = mistake.len() - 1;
        for message in mistake {
            session.say(message, false);
        }
        let heard = session.rest().await;
        assert!(heard.len() == read + 1 && heard[..read].iter().all(|answer| answer.ends_with(" 9000")), "{heard:?}");
        assert_eq!(heard[read], invalid, "after the answers to the messages read before");
        assert_eq!(protected(&stage, Some("family"))?, "6982");
    }
    for first in [None, unit(1)] {
        let mut session = Conversation::start(&stub, &[]).await?;
        session.say(first, false);
        assert_eq!(session.answer().await, invalid);
    }
    assert_eq!(Conversation::start(&stub, &[]).await?.close().await, [invalid], "no message was sent");
    for wrong in [
        SessionOpen { disposition: 9, ..opening(stage.reader) },
        SessionOpen { turn: Some(TurnOptions { reset_before: 9, ..TurnOptions::default() }), ..opening(stage.reader) },
        SessionOpen { idle_timeout: crate::conversation::milliseconds(99), ..opening(stage.reader) },
        SessionOpen { idle_timeout: crate::conversation::milliseconds(60_001), ..opening(stage.reader) },
    ] {
        assert_eq!(Conversation::ask(&stub, wrong).await?.answer().await, invalid);
    }
    let unknown = Conversation::ask(&stub, opening("readers/nowhere")).await?.answer().await;
    assert_eq!(unknown, "over: NotFound READER_NOT_FOUND not_sent");
    assert_eq!(Conversation::open(&stub, opening(stage.reader)).await?.close().await, ["over: OK"]);
    Ok(())
}

async fn a_deadline_on_the_stream_ends_the_session(stage: Stage) -> anyhow::Result<()> {
    let stub = stub(&stage.broker).await?;
    let mut session = Conversation::start(&stub, &[("grpc-timeout", "1000m")]).await?;
    session.say(Request::Open(opening(stage.reader)), false);
    assert_eq!(session.answer().await, "opened");
    assert_eq!(session.run(&[INCREMENT]).await, "1: 00000001 9000");
    session.transmit(&[INCREMENT, &slow(3000), INCREMENT]);
    session.transmit(&[INCREMENT]);
    session.reset_card(false);
    let heard = session.rest().await;
    assert_eq!(heard[0], "2: 00000002 9000; stopped at 1: DEADLINE_NEAR unknown", "in flight");
    assert_eq!(heard[1..3], ["3: failed DEADLINE_NEAR not_sent", "4: failed DEADLINE_NEAR not_sent"]);
    assert_eq!(heard[3..], ["over: DeadlineExceeded DEADLINE_NEAR not_sent"]);
    let next = Conversation::open(&stub, opening(stage.reader)).await?;
    assert_eq!(next.close().await, ["over: OK"]);
    assert_eq!(stage.run(&[INCREMENT]).await?, ["00000003 9000"], "nothing behind the command in flight was sent");
    Ok(())
}

#[test]
fn the_card_is_reset_at_once_unless_left() -> anyhow::Result<()> {
    tell(async {
        let world = PcscWorld::usual().await?;
        let stub = stub(&world.broker).await?;
        for (end, resets) in [(Disposition::Leave, 0), (Disposition::Reset, 1)] {
            let before = world.card.resets_seen();
            let open = SessionOpen { disposition: end.into(), ..opening(READER) };
            let mut session = Conversation::open(&stub, open).await?;
            assert_eq!(session.run(&[VERIFY]).await, "1: 9000");
            assert_eq!(session.close().await, ["over: OK"]);
            assert_eq!(world.card.resets_seen() - before, resets, "{end:?}, before the status is OK");
        }
        let before = world.card.resets_seen();
        let session =
            Conversation::open(&stub, SessionOpen { disposition: Disposition::Leave.into(), ..opening(READER) })
                .await?;
        session.reset();
        assert!(world.card.wait_until(LONG, |seen| seen.resets == before + 1), "nobody asked, and it was reset");
        Ok(())
    })
}
