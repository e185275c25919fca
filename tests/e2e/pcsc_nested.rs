//! A broker whose PC/SC service is the door of another one: sessions, security state, cards that come and go, and the
//! end of the broker below. Stories that also run on other stacks are in `scenarios`, `client_sessions`, `isolation`
//! and `session_ends`.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cardbroker_client::{ReaderState, hex};
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{
        broker::{Broker, Setup},
        pcscd::Pcscd,
    },
};

use crate::{
    pcsc_programs::send,
    world::{COUNT, INCREMENT, LONG, PROTECTED, READER, SELECT, VERIFY, answers, in_group, tell, told, unit, wait_for},
};

/// Two brokers and their card. The inner one is a program at the door of the outer one.
struct World {
    inner: Broker,
    outer: Broker,
    card: VirtualCard,
    pcscd: Pcscd,
}

impl World {
    /// With these lines in the configuration of the outer broker.
    async fn new(configuration: &str) -> anyhow::Result<Self> {
        let pcscd = Pcscd::start(1)?;
        let card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
        let outer = Setup::on(&pcscd)?.configuration(configuration).door("").start()?;
        wait_for(&outer, READER, ReaderState::Ready).await?;
        let inner = Setup::behind(outer.door())?.door("").start()?;
        wait_for(&inner, READER, ReaderState::Ready).await?;
        Ok(Self { inner, outer, card, pcscd })
    }

    /// Sends commands with a PC/SC program at this door.
    fn send(&self, door: PathBuf, commands: &[&str]) -> anyhow::Result<Vec<String>> {
        send(door, &self.pcscd.reader_name(0), commands)
    }
}

#[test]
fn clients_and_programs_of_both_brokers_use_the_same_card() -> anyhow::Result<()> {
    tell(async {
        let world = World::new("limits.max_contended_lease = \"2s\"\n").await?;
        let client = world.inner.client().await?;
        assert_eq!(unit(&client, READER, &[SELECT, COUNT]).send().await?.results.len(), 2);
        let behind_both = world.send(world.inner.door(), &[COUNT])?;
        assert!(behind_both[0].ends_with("9000"), "{behind_both:?}");
        let behind_one = world.send(world.outer.door(), &[COUNT])?;
        assert!(behind_one[0].ends_with("9000"), "{behind_one:?}");
        Ok(())
    })
}

#[test]
fn a_session_keeps_programs_of_the_outer_broker_out_until_it_gives_way() -> anyhow::Result<()> {
    tell(async {
        let world = World::new("limits.max_contended_lease = \"2s\"\n").await?;
        let client = world.inner.client().await?;
        let session = client.open_session(READER).open().await?;
        assert_eq!(answers(&session.transmit([hex::parse(VERIFY)?]).send().await?), ["9000"]);
        let (door, reader) = (world.outer.door(), world.pcscd.reader_name(0));
        let began = Instant::now();
        let program = thread::spawn(move || send(door, &reader, &[PROTECTED]));
        // As long as the outer broker lets it, the session has the card with its PIN.
        let error = loop {
            match session.transmit([hex::parse(PROTECTED)?]).send().await {
                Ok(done) => ensure!(answers(&done)[0].ends_with(" 9000"), "{:?}", answers(&done)),
                Err(error) => break error,
            }
            ensure!(began.elapsed() < LONG, "it does not give way");
        };
        assert!(began.elapsed() >= Duration::from_secs(2), "{:?}: {error}", began.elapsed());
        let answered = program.join().ok().context("no result")??;
        assert_eq!(answered, ["6982"], "the PIN was not for the program");
        // The inner broker gets the card again, and nobody finds a PIN in it.
        wait_for(&world.inner, READER, ReaderState::Ready).await?;
        let again = unit(&client, READER, &[PROTECTED]).wait_for_card().send().await?;
        assert_eq!(answers(&again), ["6982"]);
        Ok(())
    })
}

#[test]
fn a_card_is_reset_between_isolation_groups_of_the_inner_broker() -> anyhow::Result<()> {
    tell(async {
        let world = World::new("").await?;
        let [first, second] = [in_group(&world.inner, "first").await?, in_group(&world.inner, "second").await?];
        assert_eq!(answers(&unit(&first, READER, &[VERIFY]).send().await?), ["9000"]);
        assert!(answers(&unit(&first, READER, &[PROTECTED]).send().await?)[0].ends_with(" 9000"));
        let resets = world.card.resets_seen();
        let read = unit(&second, READER, &[PROTECTED]).send().await?;
        assert_eq!((&*answers(&read)[0], read.was_reset), ("6982", true));
        assert_eq!(world.card.resets_seen(), resets + 1);
        // A program at the inner door is a group of its own, too.
        assert_eq!(answers(&unit(&first, READER, &[VERIFY]).send().await?), ["9000"]);
        assert_eq!(world.send(world.inner.door(), &[PROTECTED])?, ["6982"]);
        assert_eq!(answers(&unit(&first, READER, &[PROTECTED]).send().await?), ["6982"]);
        Ok(())
    })
}

#[test]
fn a_card_that_leaves_and_comes_is_another_insertion_at_both() -> anyhow::Result<()> {
    tell(async {
        let world = World::new("").await?;
        let client = world.inner.client().await?;
        let before = wait_for(&world.inner, READER, ReaderState::Ready).await?.insertion_id;
        let session = client.open_session(READER).open().await?;
        session.transmit([hex::parse(INCREMENT)?]).send().await?;
        world.card.hang_next(LONG);
        let increment = hex::parse(INCREMENT)?;
        let running = tokio::spawn(async move { session.transmit([increment]).send().await });
        assert!(world.card.wait_until(LONG, |seen| seen.hanging));
        world.card.pull();
        let error = running.await?.unwrap_err();
        let failure = told(&error);
        assert!(failure.starts_with("CARD_") && failure.contains(" unknown"), "it may have run: {failure}");
        wait_for(&world.inner, READER, ReaderState::Empty).await?;
        wait_for(&world.outer, READER, ReaderState::Empty).await?;
        let refused = unit(&client, READER, &[COUNT]).send().await.unwrap_err();
        assert_eq!(told(&refused), "NO_CARD not_sent");
        let patient = tokio::spawn(unit(&client, READER, &[INCREMENT]).wait_for_card().send());
        world.card.swap(CardOptions { serial: 2, ..CardOptions::default() });
        let served = patient.await??;
        assert_eq!(answers(&served), ["00000001 9000"], "the new card");
        assert_ne!(served.insertion_id, before);
        let programs = world.send(world.inner.door(), &[COUNT])?;
        assert_eq!(programs, ["000000029000"], "the card has received the increment and this command");
        assert_eq!(world.card.seen().by_instruction[0x12], 3, "no command was sent twice");
        Ok(())
    })
}

#[test]
fn a_restart_of_the_outer_broker_is_one_of_the_service() -> anyhow::Result<()> {
    tell(async {
        let mut world = World::new("").await?;
        let client = world.inner.client().await?;
        let mut count = 0;
        for crashes in [false, true] {
            count += 1;
            let before = unit(&client, READER, &[INCREMENT]).send().await?;
            assert_eq!(answers(&before), [format!("{count:08X} 9000")]);
            let session = client.open_session(READER).open().await?;
            assert_eq!(answers(&session.transmit([hex::parse(VERIFY)?]).send().await?), ["9000"]);
            match crashes {
                true => world.outer.kill()?,
                false => ensure!(world.outer.stop()?.success(), "{}", world.outer.log()),
            }
            wait_for(&world.inner, READER, ReaderState::Unavailable).await?;
            let ended = session.transmit([hex::parse(PROTECTED)?]).send().await.unwrap_err();
            assert!(told(&ended).ends_with("not_sent"), "{ended}");
            let refused = unit(&client, READER, &[COUNT]).send().await.unwrap_err();
            assert_eq!(told(&refused), "PCSC_UNAVAILABLE not_sent");
            world.outer.start_again()?;
            wait_for(&world.inner, READER, ReaderState::Ready).await?;
            let after = unit(&client, READER, &[PROTECTED]).send().await?;
            assert_eq!(answers(&after), ["6982"], "nobody inherits the PIN");
            assert!(world.send(world.inner.door(), &[COUNT])?[0].ends_with("9000"));
        }
        assert_eq!(world.card.seen().by_instruction[0x12], count, "no command was sent twice");
        Ok(())
    })
}
