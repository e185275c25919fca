//! What of a PIN stays in the memory of the daemon as it is released. An optimised program keeps values on its stacks that a debug build
//! does not, and nothing wipes a stack.

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
    secrets::{Marker, memory, until_gone, with_pin},
    wire::stub,
    world::{READER, SELECT, answers, tell, unit, wait_for},
};

/// Commands that follow those with the PIN: what they do not overwrite, nothing does.
const COMMANDS: usize = 3_000;
const COMMANDS_OF_A_UNIT: usize = 60;
const READ_BINARY: &str = "00B0000005";

/// A card on a real pcscd, and the PINs that are shown to it.
struct Scene {
    broker: Broker,
    pin: Marker,
    new_pin: Marker,
}

impl Scene {
    async fn client(&self) -> anyhow::Result<Client> {
        self.broker.client().await
    }

    fn verify(&self) -> String {
        format!("0020008010{}", self.pin.hex())
    }

    fn change(&self) -> String {
        format!("0024008020{}{}", self.pin.hex(), self.new_pin.hex())
    }

    /// Neither PIN is in the broker's memory, or will not be in a moment.
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
        let scene = Scene { broker, pin, new_pin };

        let client = scene.client().await?;
        let unit_of_both = unit(&client, READER, &[SELECT, &scene.verify(), &scene.change()]);
        let verified = answers(&unit_of_both.request_id(pin_free_id()).send().await?);
        assert_eq!(verified[1], "9000", "{verified:?}");
        drop(client);
        scene.holds_no_pin(&memory, "after the connection has closed").await?;

        let mut session = Conversation::open(&stub(&scene.broker).await?, opening(READER)).await?;
        assert_eq!(session.run(&[&scene.verify()]).await, "1: 9000");
        session.run(&[&scene.change()]).await;
        assert_eq!(session.close().await, ["over: OK"]);
        scene.holds_no_pin(&memory, "after the session's reset").await?;

        let client = scene.client().await?;
        for _ in 0..COMMANDS / COMMANDS_OF_A_UNIT {
            let reads = unit(&client, READER, &[READ_BINARY; COMMANDS_OF_A_UNIT]);
            assert_eq!(answers(&reads.send().await?).len(), COMMANDS_OF_A_UNIT);
        }
        scene.holds_no_pin(&memory, "after 3,000 commands").await?;

        unit(&client, READER, &[&scene.verify(), &scene.change()]).send().await?;
        drop(client);
        card.pull();
        wait_for(&scene.broker, READER, ReaderState::Empty).await?;
        scene.holds_no_pin(&memory, "after the card was taken out").await
    })
}

/// An id of a request.
fn pin_free_id() -> [u8; 16] {
    *b"0123456789abcdef"
}

#[test]
fn the_released_daemon_keeps_no_pin() -> anyhow::Result<()> {
    no_pin_stays("")
}

#[test]
fn the_released_daemon_keeps_no_pin_without_its_guard_either() -> anyhow::Result<()> {
    no_pin_stays("[[reader]]\nmatch = \".*\"\npin_guard = false\n")
}
