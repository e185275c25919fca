//! No PIN stays in the memory of the released daemon. An optimised program keeps values on its stacks that a debug
//! build does not.

use std::mem;

use cardbroker_client::{Client, ReaderState};
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{
        broker::{Broker, Setup, released_daemon},
        memory::Memory,
        pcscd::Pcscd,
    },
};

use crate::{
    conversation::{Conversation, opening},
    secrets::{Marker, a_pcsc_programs_pin_leaves_no_trace, memory, until_gone, with_pin},
    wire::stub,
    world::{READER, SELECT, answers, arrived, tell, unit, wait_for},
};

/// Commands after those with the PIN: any copy that they do not overwrite would stay.
const COMMANDS: usize = 3_000;
const COMMANDS_OF_A_UNIT: usize = 60;
const READ_BINARY: &str = "00B0000005";
const REQUEST_ID: [u8; 16] = *b"0123456789abcdef";

/// A card on a real pcscd, and its two PINs, which every change exchanges.
struct Scene {
    broker: Broker,
    pin: Marker,
    new_pin: Marker,
}

impl Scene {
    async fn client(&self) -> anyhow::Result<Client> {
        self.broker.client().await
    }

    /// VERIFY and CHANGE REFERENCE DATA, both with the card's PIN; exchanges the two.
    fn verify_and_change(&mut self) -> [String; 2] {
        let commands =
            [format!("0020008010{}", self.pin.hex()), format!("0024008020{}{}", self.pin.hex(), self.new_pin.hex())];
        mem::swap(&mut self.pin, &mut self.new_pin);
        commands
    }

    /// A PIN in a waiting unit is in the broker's memory: proof that the search works.
    async fn waiting_pin_is_found(&self, memory: &Memory) -> anyhow::Result<()> {
        let client = self.client().await?;
        let session = Conversation::open(&stub(&self.broker).await?, opening(READER)).await?;
        let verify = format!("0020008010{}", self.pin.hex());
        let waiting = arrived(&client, unit(&client, READER, &[&verify])).await?;
        let needles = self.pin.in_memory();
        let found = memory.find(&needles.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        assert!(!found.is_empty(), "the search does not find a PIN that waits");
        drop((waiting, session, client));
        self.holds_no_pin(memory, "after it has waited in vain").await
    }

    /// Waits until neither PIN is in the broker's memory.
    async fn holds_no_pin(&self, memory: &Memory, when: &str) -> anyhow::Result<()> {
        until_gone(memory, self.pin, when).await?;
        until_gone(memory, self.new_pin, when).await
    }
}

fn no_pin_stays(configuration: &'static str) -> anyhow::Result<()> {
    released_daemon()?;
    tell(async {
        let (pin, new_pin) = (Marker::new()?, Marker::new()?);
        let pcscd = Pcscd::start(1)?;
        let card = VirtualCard::insert(pcscd.port(0), with_pin(pin))?;
        let broker = Setup::on(&pcscd)?.configuration(configuration).released().start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let Some(memory) = memory(&broker)? else { return Ok(()) };
        let mut scene = Scene { broker, pin, new_pin };
        scene.waiting_pin_is_found(&memory).await?;

        let client = scene.client().await?;
        let [verify, change] = scene.verify_and_change();
        let changed = unit(&client, READER, &[SELECT, &verify, &change]).request_id(REQUEST_ID).send().await?;
        assert_eq!(answers(&changed)[1..], ["9000", "9000"]);
        drop(client);
        scene.holds_no_pin(&memory, "after the connection has closed").await?;

        let mut session = Conversation::open(&stub(&scene.broker).await?, opening(READER)).await?;
        let [verify, change] = scene.verify_and_change();
        assert_eq!(session.run(&[&verify]).await, "1: 9000");
        assert_eq!(session.run(&[&change]).await, "2: 9000");
        assert_eq!(session.close().await, ["over: OK"]);
        scene.holds_no_pin(&memory, "after the session's reset").await?;

        let client = scene.client().await?;
        for _ in 0..COMMANDS / COMMANDS_OF_A_UNIT {
            let reads = unit(&client, READER, &[READ_BINARY; COMMANDS_OF_A_UNIT]);
            assert_eq!(answers(&reads.send().await?).len(), COMMANDS_OF_A_UNIT);
        }
        scene.holds_no_pin(&memory, "after 3,000 commands").await?;

        let [verify, change] = scene.verify_and_change();
        let changed = unit(&client, READER, &[&verify, &change]).send().await?;
        assert_eq!(answers(&changed), ["9000", "9000"]);
        drop(client);
        card.pull();
        wait_for(&scene.broker, READER, ReaderState::Empty).await?;
        scene.holds_no_pin(&memory, "after the card was taken out").await
    })
}

#[test]
fn the_released_daemon_keeps_no_pin() -> anyhow::Result<()> {
    no_pin_stays("")
}

#[test]
fn the_released_daemon_keeps_no_pin_without_its_guard_either() -> anyhow::Result<()> {
    no_pin_stays("[[reader]]\nmatch = \".*\"\npin_guard = false\n")
}

#[test]
fn the_released_daemon_keeps_no_pin_of_a_pcsc_program() -> anyhow::Result<()> {
    released_daemon()?;
    a_pcsc_programs_pin_leaves_no_trace(Setup::released)
}
