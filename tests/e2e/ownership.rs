//! Ownership of a reader: always, on demand beside other programs, or never.

use cardbroker_client::{CardProtocol, ReaderState};
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_tests::harness::{habits::Habits, programs::Program};
use serde_json::json;

use crate::world::{
    COUNT, INCREMENT, PROTECTED, PcscWorld, READER, VERIFY, answers, tell, told, unit, wait_for,
    with_and_without_habits,
};

with_and_without_habits! {
    an_owned_reader_is_closed_to_other_programs,
    on_demand_the_card_is_held_for_requests_only,
    on_demand_a_newly_inserted_card_is_not_held,
    a_never_owned_reader_can_be_watched_but_not_used,
    a_stopping_broker_releases_the_empty_reader,
}

const DIRECT: &str = env!("CARGO_BIN_EXE_direct-pcsc");

fn rule(settings: &str) -> String {
    format!("[[reader]]\nmatch = \".*\"\n{settings}\n")
}

/// Runs the commands with another program on the same machine, by PC/SC.
fn directly(world: &PcscWorld, commands: &[&str]) -> anyhow::Result<serde_json::Value> {
    let reader = world.pcscd.reader_name(0);
    let arguments = [&[&*reader, "--send"], commands].concat();
    Program::start(DIRECT, &world.pcscd, &arguments)?.report()
}

async fn an_owned_reader_is_closed_to_other_programs(habits: Option<Habits>) -> anyhow::Result<()> {
    let world = PcscWorld::usual_with(habits).await?;
    assert!(directly(&world, &[COUNT]).is_err());
    Ok(())
}

async fn on_demand_the_card_is_held_for_requests_only(habits: Option<Habits>) -> anyhow::Result<()> {
    let rule = rule("own = \"on_demand\"\nrelease_after = \"1s\"");
    let world = PcscWorld::with(habits, &rule, CardOptions::default()).await?;
    let client = world.broker.client().await?;
    assert_eq!(directly(&world, &["8012000004"])?, json!(["000000019000"]), "free while nobody asks the broker");

    let first = unit(&client, READER, &[VERIFY, PROTECTED, INCREMENT]).send().await?;
    assert_eq!(answers(&first)[2], "00000002 9000");
    assert!(directly(&world, &[COUNT]).is_err(), "held for a while after the request");

    wait_until_released(&world)?;
    assert_eq!(directly(&world, &[PROTECTED])?, json!(["6982"]), "no verified PIN is left behind");
    let second = unit(&client, READER, &[INCREMENT]).send().await?;
    assert_eq!((&*answers(&second)[0], &second.insertion_id), ("00000003 9000", &first.insertion_id));
    assert_ne!(second.state_tag, first.state_tag);
    Ok(())
}

async fn on_demand_a_newly_inserted_card_is_not_held(habits: Option<Habits>) -> anyhow::Result<()> {
    let rule = rule("own = \"on_demand\"\nrelease_after = \"1h\"");
    let world = PcscWorld::with(habits, &rule, CardOptions::default()).await?;
    unit(&world.broker.client().await?, READER, &[INCREMENT]).send().await?;
    world.card.pull();
    wait_for(&world.broker, READER, ReaderState::Empty).await?;
    world.card.swap(CardOptions::default());
    wait_for(&world.broker, READER, ReaderState::Ready).await?;
    wait_until_released(&world)
}

fn wait_until_released(world: &PcscWorld) -> anyhow::Result<()> {
    let deadline = std::time::Instant::now() + crate::world::LONG;
    while directly(world, &[COUNT]).is_err() {
        anyhow::ensure!(std::time::Instant::now() < deadline, "not released in time");
    }
    Ok(())
}

async fn a_never_owned_reader_can_be_watched_but_not_used(habits: Option<Habits>) -> anyhow::Result<()> {
    let world = PcscWorld::with(habits, &rule("own = \"never\""), CardOptions::default()).await?;
    let client = world.broker.client().await?;
    let refused = unit(&client, READER, &[COUNT]).wait_for_card().send().await.unwrap_err();
    assert_eq!(told(&refused), "READER_NOT_OWNED not_sent");
    assert_eq!(directly(&world, &[COUNT])?, json!(["000000019000"]));
    Ok(())
}

#[test]
fn a_second_reader_with_an_alias_gets_a_number() -> anyhow::Result<()> {
    tell(async {
        let pcscd = cardbroker_tests::harness::pcscd::Pcscd::start(2)?;
        let broker =
            cardbroker_tests::harness::broker::Setup::on(&pcscd)?.configuration(&rule("alias = \"desk\"")).start()?;
        wait_for(&broker, "readers/desk", ReaderState::Empty).await?;
        let other = wait_for(&broker, "readers/desk-2", ReaderState::Empty).await?;
        assert_eq!(other.display_name, pcscd.reader_name(1));
        Ok(())
    })
}

#[test]
fn a_card_that_speaks_no_protocol_allowed_is_not_used() -> anyhow::Result<()> {
    tell(async {
        let pcscd = cardbroker_tests::harness::pcscd::Pcscd::start(1)?;
        let _card = cardbroker_tests::cards::VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
        let only = |protocol| {
            cardbroker_tests::harness::broker::Setup::on(&pcscd)
                .map(|setup| setup.configuration(&rule(&format!("preferred_protocols = \"{protocol}\""))))
        };
        let broker = only("t0")?.start()?;
        wait_for(&broker, READER, ReaderState::Mute).await?;
        let refused = unit(&broker.client().await?, READER, &[COUNT]).send().await.unwrap_err();
        assert_eq!(told(&refused), "PROTOCOL_MISMATCH not_sent");
        assert!(refused.to_string().contains("T=0"), "{refused}");
        drop(broker);
        let broker = only("t1")?.start()?;
        assert_eq!(wait_for(&broker, READER, ReaderState::Ready).await?.active_protocol(), CardProtocol::T1);
        Ok(())
    })
}

async fn a_stopping_broker_releases_the_empty_reader(habits: Option<Habits>) -> anyhow::Result<()> {
    let mut world = PcscWorld::usual_with(habits).await?;
    world.card.pull();
    wait_for(&world.broker, READER, ReaderState::Empty).await?;
    assert_eq!(world.broker.stop()?.code(), Some(0));
    world.card.swap(CardOptions::default());
    assert_eq!(directly(&world, &[COUNT])?, json!(["000000019000"]));
    Ok(())
}
