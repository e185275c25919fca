//! Habits of Windows' and macOS' PC/SC, one at a time, on a real pcscd below a preloaded library; see the harness's
//! `habits.rs`. The stories of `removal`, `restart` and `ownership` meet all habits at once.

use std::time::Duration;

use anyhow::Context;
use cardbroker_client::{CardProtocol, CardReset, ReaderState, hex};
use cardbroker_core::{simulated_card::CardOptions, slot::Protocol};
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{
        broker::Setup,
        habits::{Call, Habit, Habits},
        pcscd::Pcscd,
        programs::Program,
    },
};
use tokio::time::sleep;

use crate::world::{
    COUNT, INCREMENT, LONG, PROTECTED, PcscWorld, READER, VERIFY, answers, fault, refusal, tell, told, unit, wait_for,
};

/// The time in which the calls of an idle daemon are counted.
const WINDOW: Duration = Duration::from_secs(8);

const NEW: CardOptions = CardOptions {
    protocol: Protocol::T1,
    serial: 7,
    reset_time: Duration::ZERO,
    command_time: Duration::ZERO,
    pin: b"12345678",
};

/// Runs a story in the usual world with these habits.
fn with(habits: &[Habit], story: impl AsyncFnOnce(&PcscWorld, &Habits) -> anyhow::Result<()>) -> anyhow::Result<()> {
    tell(async {
        let world = PcscWorld::usual_with(Some(Habits::new(habits)?)).await?;
        story(&world, world.habits.as_ref().context("no habits")?).await
    })
}

/// Takes the card out, and inserts another one.
async fn replace(world: &PcscWorld, card: CardOptions) -> anyhow::Result<cardbroker_client::Reader> {
    world.card.pull();
    wait_for(&world.broker, READER, ReaderState::Empty).await?;
    world.card.swap(card);
    wait_for(&world.broker, READER, ReaderState::Ready).await
}

#[test]
fn a_card_is_taken_though_the_handle_of_the_one_before_is_dead() -> anyhow::Result<()> {
    with(&[Habit::DeadHandle], async |world, habits| {
        let client = world.broker.client().await?;
        for removal in 1..=3 {
            replace(world, NEW).await?;
            assert_eq!(answers(&unit(&client, READER, &[INCREMENT]).send().await?), ["00000001 9000"]);
            assert!(habits.shown(Habit::DeadHandle) >= removal);
        }
        Ok(())
    })
}

#[test]
fn a_handle_that_works_is_kept_for_the_next_card() -> anyhow::Result<()> {
    with(&[], async |world, habits| {
        let connections = habits.calls(Call::Connect);
        for _ in 0..3 {
            replace(world, NEW).await?;
        }
        assert_eq!((connections, habits.calls(Call::Connect)), (1, 1));
        Ok(())
    })
}

#[test]
fn the_service_may_stop_with_the_last_reader_and_start_with_the_first() -> anyhow::Result<()> {
    stops_and_starts(&[Habit::ServiceStops])
}

#[test]
fn a_code_that_is_none_of_pcsc_ends_a_context_and_not_the_broker() -> anyhow::Result<()> {
    stops_and_starts(&[Habit::ServiceStops, Habit::DeadContext])
}

/// Stops and starts the service twice, and sees all of the habits.
fn stops_and_starts(given: &[Habit]) -> anyhow::Result<()> {
    with(given, async |world, habits| {
        for _ in 0..2 {
            habits.unplug()?;
            wait_for(&world.broker, READER, ReaderState::Unavailable).await?;
            habits.plug_in()?;
            wait_for(&world.broker, READER, ReaderState::Ready).await?;
            let client = world.broker.client().await?;
            assert_eq!(answers(&unit(&client, READER, &[VERIFY, PROTECTED]).send().await?)[0], "9000");
        }
        assert!(given.iter().all(|habit| habits.shown(*habit) > 0));
        Ok(())
    })
}

#[test]
fn without_a_reader_the_broker_starts_and_seldom_asks_for_the_service() -> anyhow::Result<()> {
    tell(async {
        let pcscd = Pcscd::start(1)?;
        let habits = Habits::new(&[Habit::ServiceStops])?;
        habits.unplug()?;
        let broker = Setup::on(&pcscd)?.habits(&habits).start()?;
        let log = broker.settled_log();
        assert!(log.contains("no readers yet") && log.matches("no readers yet").count() == 1, "{log}");
        let before = habits.calls(Call::Establish);
        sleep(WINDOW).await;
        let tries = habits.calls(Call::Establish) - before;
        assert!((1..=8).contains(&tries), "{tries} tries in {WINDOW:?}");
        habits.plug_in()?;
        wait_for(&broker, READER, ReaderState::Empty).await?;
        Ok(())
    })
}

#[test]
fn a_wait_that_returns_at_once_is_no_tight_loop() -> anyhow::Result<()> {
    with(&[Habit::ReturnsAtOnce], async |world, habits| paced(world, habits, Habit::ReturnsAtOnce, 20).await)
}

#[test]
fn without_an_announcer_new_readers_are_asked_for_once_a_second() -> anyhow::Result<()> {
    with(&[Habit::NoAnnouncer], async |world, habits| paced(world, habits, Habit::NoAnnouncer, 2).await)
}

/// Counts the waits for a change: at most `a_second` on average by an idle broker, and none in a loop by one that waits
/// for the removal of a silent card. Changes are seen all the same.
async fn paced(world: &PcscWorld, habits: &Habits, habit: Habit, a_second: u64) -> anyhow::Result<()> {
    let before = habits.calls(Call::Change);
    sleep(WINDOW).await;
    let waits = habits.calls(Call::Change) - before;
    assert!((1..=WINDOW.as_secs() * a_second + 10).contains(&waits), "{waits} waits in {WINDOW:?}");
    assert!(habits.shown(habit) > 0);

    replace(world, NEW).await?;
    let client = world.broker.client().await?;
    unit(&client, READER, &[&fault(4, 200, 0)]).send().await?;
    let before = habits.calls(Call::Change);
    assert_eq!(refusal(unit(&client, READER, &[COUNT]).reset_before(CardReset::Warm)).await?, "RESET_FAILED not_sent");
    let waits = habits.calls(Call::Change) - before;
    assert!(waits <= 100, "{waits} waits for the removal of a silent card");
    Ok(())
}

#[test]
fn a_card_of_another_protocol_is_taken_by_a_new_connection() -> anyhow::Result<()> {
    with(&[Habit::OneProtocol], async |world, habits| {
        for (protocol, expected) in [(Protocol::T0, CardProtocol::T0), (Protocol::T1, CardProtocol::T1)] {
            let reader = replace(world, CardOptions { protocol, ..NEW }).await?;
            assert_eq!(reader.active_protocol(), expected);
        }
        assert!(habits.shown(Habit::OneProtocol) >= 2);
        Ok(())
    })
}

#[test]
fn a_silent_card_that_another_program_is_connected_to_is_not_given_up() -> anyhow::Result<()> {
    tell(async {
        let pcscd = Pcscd::start(1)?;
        let (card, reader) = (VirtualCard::insert(pcscd.port(0), NEW)?, pcscd.reader_name(0));
        let silence = fault(4, u16::MAX, 0);
        let silenced = [&*reader, "--send", &silence, "reset"];
        Program::start(env!("CARGO_BIN_EXE_direct-pcsc"), &pcscd, &silenced)?.report()?;
        let mut rival = Program::start(env!("CARGO_BIN_EXE_interferer"), &pcscd, &["hold", &reader])?;
        assert_eq!(rival.line()?, "holding");

        let habits = Habits::new(&[Habit::DirectExcludes])?;
        let broker = Setup::on(&pcscd)?.habits(&habits).start()?;
        wait_for(&broker, READER, ReaderState::HeldElsewhere).await?;
        assert!(habits.shown(Habit::DirectExcludes) > 0);
        let power_offs = card.seen().power_offs;
        rival.end()?;
        wait_for(&broker, READER, ReaderState::Mute).await?;
        assert!(card.seen().power_offs >= power_offs + 3, "three cold resets");
        Ok(())
    })
}

#[test]
fn a_command_whose_card_is_pulled_may_have_run_whatever_the_code() -> anyhow::Result<()> {
    with(&[Habit::RemovedInFlight], async |world, habits| {
        let client = world.broker.client().await?;
        world.card.hang_next(LONG);
        let in_flight = tokio::spawn(unit(&client, READER, &[INCREMENT]).wait_for_card().send());
        assert!(world.card.wait_until(LONG, |seen| seen.hanging));
        world.card.pull();
        assert_eq!(told(&in_flight.await?.unwrap_err()), "CARD_REMOVED unknown");
        assert_eq!(habits.shown(Habit::RemovedInFlight), 1);
        world.card.swap(CardOptions::default());
        wait_for(&world.broker, READER, ReaderState::Ready).await?;
        assert_eq!(world.card.seen().by_instruction[0x12], 1, "the command is not repeated");
        Ok(())
    })
}

#[test]
fn a_session_that_idles_is_in_no_transaction() -> anyhow::Result<()> {
    with(&[Habit::ShortTransaction], async |world, habits| {
        let session = world.broker.client().await?.open_session(READER).open().await?;
        session.transmit([hex::parse(VERIFY)?]).send().await?;
        sleep(Duration::from_secs(7)).await;
        let kept = session.transmit([hex::parse(PROTECTED)?]).send().await?;
        assert!(answers(&kept)[0].ends_with(" 9000"), "{kept:?}");
        assert_eq!(habits.calls(Call::Begin), 0);
        Ok(())
    })
}

#[test]
fn a_reset_reads_the_status_once_before_and_once_after() -> anyhow::Result<()> {
    with(&[], async |world, habits| {
        let client = world.broker.client().await?;
        unit(&client, READER, &[COUNT]).send().await?;
        let calls = || [Call::Status, Call::Reconnect, Call::Connect].map(|call| habits.calls(call));
        let before = calls();
        unit(&client, READER, &[COUNT]).reset_before(CardReset::Warm).send().await?;
        let after = calls();
        assert_eq!([0, 1, 2].map(|call| after[call] - before[call]), [2, 1, 0]);
        Ok(())
    })
}
