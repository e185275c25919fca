//! Security state does not pass from one isolation group to the next, and stays within one.

use std::process::Command;

use anyhow::ensure;
use cardbroker_client::{CardReset, Client};
use cardbroker_tests::harness::broker::program;

use crate::world::{
    PROTECTED, PcscWorld, READER, SELECT, SELECT_AND_FETCH, Stage, VERIFY, answers, in_group, over_all_stacks,
    raw_unit, tell, unit,
};

/// The command line's output for the same commands in another process.
fn another_process(stage: &Stage, group: Option<&str>, apdus: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new(program("cardbroker")?);
    command.args(["transmit", stage.reader]).args(apdus).env("CARDBROKER_ENDPOINT", stage.broker.endpoint());
    match group {
        Some(group) => command.env("CARDBROKER_GROUP", group),
        None => command.env_remove("CARDBROKER_GROUP"),
    };
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

async fn another_group_finds_no_verified_pin(stage: Stage) -> anyhow::Result<()> {
    assert!(stage.run(&[VERIFY, PROTECTED]).await?[1].ends_with("9000"));
    assert_eq!(another_process(&stage, None, &[PROTECTED])?.trim(), "6982");
    assert_eq!(stage.run(&[PROTECTED]).await?, ["6982"], "the card was reset in between");
    Ok(())
}

async fn reading_costs_no_reset(stage: Stage) -> anyhow::Result<()> {
    stage.run(&[SELECT_AND_FETCH]).await?;
    another_process(&stage, None, &[SELECT_AND_FETCH, "00B0000010"])?;
    let transmitted = stage.unit(&[SELECT_AND_FETCH]).send().await?;
    assert!(!transmitted.was_reset);
    let raising = stage.unit(&[VERIFY]).send().await?;
    assert!(!raising.was_reset);
    assert!(!stage.unit(&[PROTECTED]).send().await?.was_reset, "one's own state is one's own");
    Ok(())
}

async fn a_group_shares_security_state(stage: Stage) -> anyhow::Result<()> {
    let parent = in_group(&stage.broker, "family").await?;
    unit(&parent, stage.reader, &[VERIFY]).send().await?;
    assert!(another_process(&stage, Some("family"), &[PROTECTED])?.ends_with("9000\n"));
    assert_eq!(another_process(&stage, Some("neighbours"), &[PROTECTED])?, "6982\n");
    assert_eq!(answers(&unit(&parent, stage.reader, &[PROTECTED]).send().await?), ["6982"]);
    Ok(())
}

async fn an_unfetched_answer_is_not_for_other_groups(stage: Stage) -> anyhow::Result<()> {
    stage.raw_unit(&["00A4040006F04341524401"]).send().await?;
    assert_eq!(another_process(&stage, None, &["00C0000013"])?.trim(), "6D00");
    Ok(())
}

/// A client of this process in another isolation group.
async fn neighbour(stage: &Stage) -> anyhow::Result<Client> {
    in_group(&stage.broker, "neighbours").await
}

async fn unreadable_bytes_cause_a_reset_between_groups(stage: Stage) -> anyhow::Result<()> {
    let neighbour = neighbour(&stage).await?;
    // Fewer data than announced, and an incomplete header, whatever the card answers to them.
    for unreadable in ["00B0000005F0", "00B000"] {
        stage.raw_unit(&["00B0000005"]).send().await?;
        let read = unit(&neighbour, stage.reader, &["00B0000005"]).send().await?;
        assert!(!read.was_reset, "what can be read, and reads, costs no reset");
        assert_eq!(answers(&stage.raw_unit(&[unreadable]).send().await?), ["6700"]);
        assert!(!stage.raw_unit(&["00B0000005"]).send().await?.was_reset, "one's own state is one's own");
        let next = unit(&neighbour, stage.reader, &["00B0000005"]).send().await?;
        assert!(next.was_reset, "{unreadable}");
    }
    Ok(())
}

async fn an_answer_kept_after_a_refusal_stays_in_its_group(stage: Stage) -> anyhow::Result<()> {
    let neighbour = neighbour(&stage).await?;
    // The card keeps the answer offered in class 80 through a GET RESPONSE in another class.
    assert_eq!(answers(&stage.raw_unit(&["801A800100", "00C0000005"]).send().await?), ["6105", "6E00"]);
    let next = raw_unit(&neighbour, stage.reader, &["80C0000005"]).send().await?;
    assert_eq!((&*answers(&next)[0], next.was_reset), ("6D00", true));
    // The group itself could have fetched it.
    assert_eq!(answers(&stage.raw_unit(&["801A800100", "00C0000005"]).send().await?)[1], "6E00");
    assert_eq!(answers(&stage.raw_unit(&["80C0000005"]).send().await?), ["7069636B79 9000"]);
    // The answers of neutral commands, too.
    stage.unit(&["00B0000005"]).reset_before(CardReset::Warm).send().await?;
    assert_eq!(answers(&stage.raw_unit(&[SELECT, "00CC000000"]).send().await?), ["6113", "6D00"]);
    assert!(unit(&neighbour, stage.reader, &["00B0000005"]).send().await?.was_reset);
    Ok(())
}

over_all_stacks! { T1:
    unreadable_bytes_cause_a_reset_between_groups,
    an_answer_kept_after_a_refusal_stays_in_its_group,
    another_group_finds_no_verified_pin,
    reading_costs_no_reset,
    a_group_shares_security_state,
    an_unfetched_answer_is_not_for_other_groups;
    not nested:
}

#[test]
fn when_a_group_ends_the_card_is_reset_at_once() -> anyhow::Result<()> {
    tell(async {
        let world = PcscWorld::usual().await?;
        let client = world.broker.client().await?;
        unit(&client, READER, &[VERIFY]).send().await?;
        let resets = world.card.resets_seen();
        drop(client);
        assert!(world.card.wait_until(crate::world::LONG, |seen| seen.resets > resets));
        let next = world.broker.client().await?;
        let transmitted = unit(&next, READER, &[PROTECTED]).send().await?;
        assert_eq!((&*answers(&transmitted)[0], transmitted.was_reset), ("6982", true), "the reset was done already");
        Ok(())
    })
}
