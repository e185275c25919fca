//! Sessions while other requests wait: their messages about waiters, and when they must yield.

use std::time::{Duration, Instant};

use cardbroker_client::{Client, Error, Transmitted};
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_proto::v1::SessionOpen;
use cardbroker_tests::harness::{broker::Setup, run, run::cardbroker};
use tokio::{task::JoinHandle, time::timeout};

use crate::{
    conversation::{Conversation, milliseconds, opening},
    wire::stub,
    world::{
        COUNT, INCREMENT, LONG, PROTECTED, PcscWorld, READER, SELECT_AND_FETCH, Stage, VERIFY, answers,
        over_both_backends, slow, tell, unit, wait_for,
    },
};

const REVOKED: &str = "over: Aborted LEASE_REVOKED not_sent";

over_both_backends! { T1:
    a_session_gets_the_number_of_waiters,
    an_idle_session_is_revoked_for_waiters,
    an_idle_session_without_waiters_stays,
    a_session_with_unread_answers_is_revoked,
}

/// Another unit, in the queue from now on.
fn waiting(client: &Client, reader: &str, apdus: &[&str]) -> JoinHandle<Result<Transmitted, Error>> {
    tokio::spawn(unit(client, reader, apdus).send())
}

async fn idle_session(stage: &Stage) -> anyhow::Result<Conversation> {
    let open = SessionOpen { idle_timeout: milliseconds(300), ..opening(stage.reader) };
    Conversation::open(&stub(&stage.broker).await?, open).await
}

async fn a_session_gets_the_number_of_waiters(stage: Stage) -> anyhow::Result<()> {
    let mut session = Conversation::open(&stub(&stage.broker).await?, opening(stage.reader)).await?;
    let mine = [(); 2].map(|()| waiting(&stage.client, stage.reader, &[INCREMENT]));
    assert_eq!(session.hear().await, "waiters 1", "two units of one caller");
    let mut other = cardbroker(&stage.broker.endpoint(), &["transmit", stage.reader, INCREMENT])?;
    let other = tokio::task::spawn_blocking(move || run::run(&mut other));
    assert_eq!(session.hear().await, "waiters 2", "and another process");
    for mine in mine {
        mine.abort();
    }
    assert_eq!(session.hear().await, "waiters 1", "only the other process is left");
    assert_eq!(session.close().await, ["over: OK"]);
    assert_eq!(other.await??.out, "00000001 9000\n");
    Ok(())
}

async fn an_idle_session_is_revoked_for_waiters(stage: Stage) -> anyhow::Result<()> {
    let mut session = idle_session(&stage).await?;
    assert_eq!(session.run(&[VERIFY]).await, "1: 9000");
    let next = stage.unit(&[PROTECTED]).send().await?;
    assert_eq!(answers(&next), ["6982"], "the card was reset, though the next caller is of the same group");
    session.transmit(&[INCREMENT]);
    assert_eq!(session.rest().await.last().map(String::as_str), Some(REVOKED));
    assert_eq!(stage.run(&[INCREMENT]).await?, ["00000001 9000"], "what came too late was not sent");
    Ok(())
}

async fn an_idle_session_without_waiters_stays(stage: Stage) -> anyhow::Result<()> {
    let mut session = idle_session(&stage).await?;
    assert_eq!(session.run(&[VERIFY]).await, "1: 9000");
    assert!(timeout(Duration::from_secs(1), session.message()).await.is_err(), "it heard something");
    assert!(session.run(&[PROTECTED]).await.ends_with(" 9000"));

    // A session that keeps working does not idle, even with waiters.
    let next = waiting(&stage.client, stage.reader, &[INCREMENT]);
    for id in 3..=8 {
        assert_eq!(session.run(&[&slow(100)]).await, format!("{id}: 9000"));
    }
    assert!(!next.is_finished());
    assert_eq!(session.close().await, ["over: OK"]);
    assert_eq!(answers(&next.await??), ["00000001 9000"]);
    Ok(())
}

async fn a_session_with_unread_answers_is_revoked(stage: Stage) -> anyhow::Result<()> {
    let mut session = idle_session(&stage).await?;
    assert_eq!(session.run(&[VERIFY]).await, "1: 9000");
    // More than the client's library buffers: about 12 MB of answers.
    let data = "55".repeat(30_000);
    let echo = format!("80140000007530{data}0000");
    for _ in 0..200 {
        session.transmit(&[&echo, &echo]);
    }
    let next = stage.unit(&[PROTECTED]).send().await?;
    assert_eq!(answers(&next), ["6982"]);
    assert_eq!(stage.run(&[INCREMENT]).await?, ["00000001 9000"], "and everybody after");
    let heard = session.rest().await;
    assert!(heard.len() < 200 && heard.last().is_some_and(|last| last == REVOKED), "{} answers", heard.len());
    Ok(())
}

#[test]
fn a_busy_session_is_revoked_between_commands_after_the_limit() -> anyhow::Result<()> {
    tell(async {
        let broker = Setup::simulated(1)?.configuration("limits.max_contended_lease = \"1s\"").start()?;
        let reader = "readers/simulated-reader-00";
        wait_for(&broker, reader, cardbroker_client::ReaderState::Ready).await?;
        let mut session = Conversation::open(&stub(&broker).await?, opening(reader)).await?;
        // Without waiters it may go on for longer.
        assert_eq!(session.run(&[&slow(1500)]).await, "1: 9000");
        for _ in 0..8 {
            session.transmit(&[INCREMENT, &slow(400), INCREMENT]);
        }
        let asked = Instant::now();
        // Callers of the session's own group would wait for as long as it lasts.
        let mut next = cardbroker(&broker.endpoint(), &["transmit", reader, INCREMENT])?;
        let next = tokio::task::spawn_blocking(move || run::run(&mut next));
        let heard = timeout(LONG, session.rest()).await?;
        assert!(asked.elapsed() >= Duration::from_millis(900), "{heard:?}");

        let done = heard.iter().filter(|answer| answer.ends_with(" 9000") && !answer.contains("stopped")).count();
        assert!((1..=3).contains(&done), "{heard:?}");
        let cut = format!("{}: {:08X} 9000, 9000; stopped at 2: LEASE_ENDED not_sent", done + 2, 2 * done + 1);
        assert_eq!(heard[done], cut, "the command in flight was answered, the one behind it not sent: {heard:?}");
        let refused = |answer: &String| answer.ends_with("not_sent") && answer.contains(": failed ");
        assert!(heard[done + 1..8].iter().all(refused), "{heard:?}");
        assert_eq!(heard[8..], [REVOKED]);
        assert_eq!(next.await??.out, format!("{:08X} 9000\n", 2 * done + 2));
        Ok(())
    })
}

#[test]
fn a_busy_session_is_not_revoked_between_61xx_and_its_get_response() -> anyhow::Result<()> {
    tell(async {
        let command_time = Duration::from_secs(1);
        let card = CardOptions { command_time, ..CardOptions::default() };
        let world = PcscWorld::new("limits.max_contended_lease = \"1500ms\"", card).await?;
        let mut session = Conversation::open(&stub(&world.broker).await?, opening(READER)).await?;
        // The other process waits from the first second on, so the time is over during SELECT or its GET RESPONSE.
        session.transmit(&[COUNT]);
        session.transmit(&[SELECT_AND_FETCH, COUNT]);
        let mut other = cardbroker(&world.broker.endpoint(), &["transmit", READER, COUNT])?;
        let other = tokio::task::spawn_blocking(move || run::run(&mut other));
        let heard = timeout(LONG, session.rest()).await?;
        let [counted, selected, over] = &heard[..] else { anyhow::bail!("{heard:?}") };
        assert!(counted.starts_with("1: ") && counted.ends_with(" 9000"), "{heard:?}");
        assert!(selected.contains("9000; stopped at 1: LEASE_ENDED not_sent"), "{heard:?}");
        assert_eq!(over, REVOKED);
        assert!(other.await??.out.ends_with(" 9000\n"));
        Ok(())
    })
}
