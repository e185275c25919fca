//! Status words after which a unit goes on, and the card's time for each of its commands; over both backends.

use std::time::Duration;

use cardbroker_client::{Command, StopRule, hex};

use crate::world::{COUNT, INCREMENT, SELECT_AND_FETCH, Stage, answers, over_both_backends, refusal, slow};

over_both_backends! { T1:
    stop_rules_decide_after_which_status_words_a_unit_continues,
    each_result_has_its_card_duration,
}

async fn stop_rules_decide_after_which_status_words_a_unit_continues(stage: Stage) -> anyhow::Result<()> {
    let [usual, sim, any, only_9000] = [StopRule::Unspecified, StopRule::Sim, StopRule::Any, StopRule::Only9000];
    let mut increments = 0;
    for (word, going_on) in [
        ("9000", &[usual, sim, any, only_9000][..]),
        ("9100", &[usual, sim, any]),
        ("91AF", &[usual, sim, any]),
        ("6282", &[usual, sim, any]),
        ("6381", &[usual, sim, any]),
        ("9F17", &[usual, sim, any]),
        ("9120", &[sim, any]),
        ("91AE", &[sim, any]),
        ("9200", &[sim, any]),
        ("9240", &[any]),
        ("6300", &[any]),
        ("63C2", &[any]),
        ("6A82", &[any]),
        ("6F00", &[any]),
    ] {
        for rule in [usual, sim, any, only_9000] {
            let told = hex::parse(&format!("801C{word}00"))?;
            let commands = [Command::new(told).stop_rule(rule), Command::new(hex::parse(INCREMENT)?)];
            let outcome = stage.client.transmit(stage.reader).commands(commands).send().await;
            if going_on.contains(&rule) {
                increments += 1;
                assert_eq!(answers(&outcome?), [word.to_owned(), format!("{increments:08X} 9000")], "{rule:?}");
            } else {
                let stopped = crate::world::told(&outcome.unwrap_err());
                assert_eq!(stopped, "STATUS_WORD not_sent at 1 after 1 answers", "{word} {rule:?}");
            }
        }
    }
    // Listed status words replace the rule.
    let named = Command::new(hex::parse("801C900000")?).stop_rule(StopRule::Any).continue_on_exactly(0x6A82);
    let unit = stage.client.transmit(stage.reader).command(named).command(hex::parse(INCREMENT)?);
    assert_eq!(refusal(unit).await?, "STATUS_WORD not_sent at 1 after 1 answers");
    Ok(())
}

async fn each_result_has_its_card_duration(stage: Stage) -> anyhow::Result<()> {
    let [long, short] = [120, 40].map(slow);
    let transmitted = stage.unit(&[&long, SELECT_AND_FETCH, &short]).send().await?;
    let [first, fetched, last] = [0, 1, 2].map(|index: usize| transmitted.results[index].card_duration);
    assert!(first >= Duration::from_millis(120) && last >= Duration::from_millis(40), "{transmitted:?}");
    assert!(fetched > Duration::ZERO && first + fetched + last <= transmitted.card_duration, "{transmitted:?}");
    // The same in a session, where the queue has no influence.
    let session = stage.client.open_session(stage.reader).open().await?;
    let transmitted = session.transmit([hex::parse(&short)?, hex::parse(COUNT)?]).send().await?;
    let [slow, count] = [0, 1].map(|index: usize| transmitted.results[index].card_duration);
    assert!(slow >= Duration::from_millis(40) && count > Duration::ZERO, "{transmitted:?}");
    assert!(slow + count <= transmitted.card_duration, "{transmitted:?}");
    session.close().await?;
    Ok(())
}
