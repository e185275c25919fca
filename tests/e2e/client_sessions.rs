//! Sessions through the Rust client and through `cardbroker session`.

use std::time::Duration;

use cardbroker_client::{CardReset, Client, Disposition, ErrorReason, Session, hex};
use cardbroker_tests::harness::run::{cardbroker, run_with_input};
use tokio::time::timeout;

use crate::world::{INCREMENT, LONG, PROTECTED, SELECT_AND_FETCH, Stage, VERIFY, answers, over_all_stacks, told, unit};

over_all_stacks! { T1:
    verification_lasts_for_the_session_and_no_longer,
    a_session_runs_pipelined_commands_in_order,
    a_session_survives_a_failed_message,
    a_dropped_session_frees_the_card_for_waiters,
    a_session_revoked_for_idling_gets_the_cause,
    a_script_runs_in_one_session;
    not nested:
}

async fn run(session: &Session, apdus: &[&str]) -> anyhow::Result<Vec<String>> {
    let commands: Vec<_> = apdus.iter().map(|apdu| hex::parse(apdu).unwrap()).collect();
    Ok(answers(&session.transmit(commands).send().await?))
}

async fn verification_lasts_for_the_session_and_no_longer(stage: Stage) -> anyhow::Result<()> {
    let session = stage.client.open_session(stage.reader).open().await?;
    assert!(!session.insertion_id().is_empty() && session.atr().len() > 2);
    assert_eq!(run(&session, &[VERIFY]).await?, ["9000"]);
    assert!(run(&session, &[PROTECTED]).await?[0].ends_with(" 9000"));
    assert!(session.reset(CardReset::Warm).send().await?.len() > 2);
    assert_eq!(run(&session, &[PROTECTED]).await?, ["6982"]);
    run(&session, &[VERIFY]).await?;
    session.close().await?;
    assert_eq!(stage.run(&[PROTECTED]).await?, ["6982"], "the end of a session resets the card");

    let session = stage.client.open_session(stage.reader).disposition(Disposition::Leave).open().await?;
    run(&session, &[VERIFY]).await?;
    session.close().await?;
    assert!(stage.run(&[PROTECTED]).await?[0].ends_with(" 9000"), "unless it leaves it, to its own group");
    Ok(())
}

async fn a_session_runs_pipelined_commands_in_order(stage: Stage) -> anyhow::Result<()> {
    let session = stage.client.open_session(stage.reader).open().await?;
    let (first, second, third) = tokio::join!(
        run(&session, &[INCREMENT]),
        run(&session, &[INCREMENT, SELECT_AND_FETCH]),
        run(&session, &[INCREMENT])
    );
    assert_eq!((first?, third?), (vec!["00000001 9000".to_owned()], vec!["00000003 9000".to_owned()]));
    assert_eq!(second?[0], "00000002 9000");
    session.close().await?;
    Ok(())
}

async fn a_session_survives_a_failed_message(stage: Stage) -> anyhow::Result<()> {
    let session = stage.client.open_session(stage.reader).open().await?;
    let refused = session.transmit(vec![vec![0x00, 0xA4, 0x04, 0x00, 0x07, 0xA0]]).send().await.unwrap_err();
    assert_eq!(told(&refused), "INVALID_REQUEST not_sent");
    assert_eq!(run(&session, &[INCREMENT]).await?, ["00000001 9000"]);
    session.close().await?;
    Ok(())
}

async fn a_dropped_session_frees_the_card_for_waiters(stage: Stage) -> anyhow::Result<()> {
    let session = stage.client.open_session(stage.reader).open().await?;
    run(&session, &[VERIFY]).await?;
    let other: Client = stage.broker.client().await?;
    let waiting = tokio::spawn(unit(&other, stage.reader, &[PROTECTED]).send());
    let seen = async {
        while session.waiters() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, seen).await?;
    drop(session);
    let answered = timeout(LONG, waiting).await???;
    assert_eq!((&*answers(&answered)[0], answered.was_reset), ("6982", true));
    Ok(())
}

async fn a_session_revoked_for_idling_gets_the_cause(stage: Stage) -> anyhow::Result<()> {
    let session = stage.client.open_session(stage.reader).idle_timeout(Duration::from_millis(200)).open().await?;
    let other = stage.broker.client().await?;
    let waited = unit(&other, stage.reader, &[INCREMENT]).send().await?;
    assert!(waited.queue_duration >= Duration::from_millis(150), "{:?}", waited.queue_duration);
    let error = run(&session, &[INCREMENT]).await.unwrap_err();
    let error = error.downcast::<cardbroker_client::Error>()?;
    assert_eq!(error.reason(), Some(ErrorReason::LeaseRevoked), "{error:?}");
    assert!(error.to_string().contains("idled"), "{error}");
    Ok(())
}

async fn a_script_runs_in_one_session(stage: Stage) -> anyhow::Result<()> {
    let mut program = cardbroker(&stage.broker.endpoint(), &["session", stage.reader])?;
    let script = format!("# verified once, used twice\n{VERIFY}\n{PROTECTED}\n{PROTECTED}\nreset\n{PROTECTED}\n");
    let told = run_with_input(&mut program, &script)?;
    let lines: Vec<_> = told.out.lines().collect();
    assert_eq!((told.code, lines.len()), (Some(0), 4), "{told:?}");
    assert!(
        lines[0] == "9000" && lines[1].ends_with(" 9000") && lines[1] == lines[2] && lines[3] == "6982",
        "{lines:?}"
    );
    Ok(())
}
