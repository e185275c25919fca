//! Security state does not pass from one isolation group to the next, and stays within one.

use std::process::Command;

use anyhow::ensure;
use cardbroker_client::{ConnectOptions, Endpoint};
use cardbroker_tests::harness::broker::program;

use crate::world::{
    PROTECTED, PcscWorld, READER, SELECT_AND_FETCH, Stage, VERIFY, answers, over_both_backends, tell, unit,
};

/// What another process gets, run by the command line.
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

async fn a_group_shares_what_its_members_raise(stage: Stage) -> anyhow::Result<()> {
    let options = ConnectOptions { group: Some("family".into()), ..ConnectOptions::default() };
    let parent = cardbroker_client::Client::connect_with(Endpoint::Unix(stage.broker.socket()), options).await?;
    unit(&parent, stage.reader, &[VERIFY]).send().await?;
    assert!(another_process(&stage, Some("family"), &[PROTECTED])?.ends_with("9000\n"));
    assert_eq!(another_process(&stage, Some("neighbours"), &[PROTECTED])?, "6982\n");
    assert_eq!(answers(&unit(&parent, stage.reader, &[PROTECTED]).send().await?), ["6982"]);
    Ok(())
}

async fn an_answer_that_was_not_fetched_is_not_for_others(stage: Stage) -> anyhow::Result<()> {
    stage.raw_unit(&["00A4040006F04341524401"]).send().await?;
    assert_eq!(another_process(&stage, None, &["00C0000013"])?.trim(), "6D00");
    Ok(())
}

over_both_backends! { T1:
    another_group_finds_no_verified_pin,
    reading_costs_no_reset,
    a_group_shares_what_its_members_raise,
    an_answer_that_was_not_fetched_is_not_for_others,
}

#[test]
fn when_a_group_leaves_the_card_is_reset_before_anyone_asks() -> anyhow::Result<()> {
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
