//! A verified PIN of a real card application, and later processes.

use std::time::Duration;

use anyhow::{Context, ensure};
use cardbroker_client::{GROUP_VARIABLE, ReaderState, hex};
use cardbroker_tests::{
    cards::piv::{self, PivCard},
    harness::{
        broker::{Broker, Setup},
        pcscd::Pcscd,
        programs::Program,
        run::cardbroker,
    },
};

use crate::{
    conversation::{Conversation, GROUP, opening},
    wire::stub,
    world::{READER, tell, wait_for},
};

const REFUSED: &str = "6982";

struct World {
    broker: Broker,
    card: PivCard,
    pcscd: Pcscd,
}

impl World {
    async fn new() -> anyhow::Result<Self> {
        let pcscd = Pcscd::start(1)?;
        let card = PivCard::insert(pcscd.port(0), Duration::ZERO)?;
        let broker = Setup::on(&pcscd)?.start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        Ok(Self { broker, card, pcscd })
    }

    /// A process that verifies the PIN in a session, ends it, leaves the card as it is, and stays connected.
    fn verifier(&self, group: Option<&str>) -> anyhow::Result<Program> {
        let (select, verify) = (hex::format(&piv::select()), hex::format(&piv::verify(piv::PIN)));
        let socket = self.broker.socket();
        let socket = socket.to_str().context("no text")?;
        let group: Vec<_> = group.into_iter().flat_map(|group| ["--group", group]).collect();
        let arguments = [&[socket, READER, &select, &verify, "--leave"][..], &group].concat();
        let mut program = Program::start(env!("CARGO_BIN_EXE_session-holder"), &self.pcscd, &arguments)?;
        ensure!(program.line()? == "holding" && program.line()? == "left");
        Ok(program)
    }

    /// The card's answer to another process that uses the key.
    fn signature(&self, group: Option<&str>) -> anyhow::Result<String> {
        let (select, sign) = (hex::format(&piv::select()), hex::format(&piv::sign(&[0x5A; 32])));
        let mut command = cardbroker(&self.broker.endpoint(), &["transmit", READER, &select, &sign])?;
        if let Some(group) = group {
            command.env(GROUP_VARIABLE, group);
        }
        let output = command.output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout)?;
        Ok(lines.lines().last().context("no answer")?.to_owned())
    }
}

fn is_signature(answer: &str) -> bool {
    answer.starts_with("7C4") && answer.ends_with(" 9000")
}

#[test]
fn another_process_cannot_use_a_sessions_unlocked_key() -> anyhow::Result<()> {
    tell(async {
        let world = World::new().await?;
        let verifier = world.verifier(None)?;
        assert_eq!(world.signature(None)?, REFUSED);
        drop(verifier);
        // A process that has ended has left no security state.
        let resets = world.card.resets_seen();
        drop(world.verifier(None)?);
        assert_eq!(world.signature(None)?, REFUSED);
        assert!(world.card.resets_seen() > resets);
        Ok(())
    })
}

#[test]
fn only_processes_of_one_group_share_the_unlocked_key() -> anyhow::Result<()> {
    tell(async {
        let world = World::new().await?;
        let _verifier = world.verifier(Some("family"))?;
        assert!(is_signature(&world.signature(Some("family"))?));
        assert!(is_signature(&world.signature(Some("family"))?), "more than once");
        assert_eq!(world.signature(Some("neighbours"))?, REFUSED);
        assert_eq!(world.signature(Some("family"))?, REFUSED, "the neighbour's turn has closed it");

        let verifier = world.verifier(Some("family"))?;
        assert!(is_signature(&world.signature(Some("family"))?));
        drop((verifier, _verifier));
        assert_eq!(world.signature(Some("family"))?, REFUSED, "nobody of the group was left");
        Ok(())
    })
}

#[test]
fn a_session_ending_with_reset_locks_the_groups_key() -> anyhow::Result<()> {
    tell(async {
        let world = World::new().await?;
        let mut session = Conversation::start(&stub(&world.broker).await?, &[(GROUP, "family")]).await?;
        session.say(cardbroker_proto::v1::open_session_request::Request::Open(opening(READER)), false);
        assert_eq!(session.answer().await, "opened");
        let commands = [piv::select(), piv::verify(piv::PIN), piv::sign(&[0x5A; 32])].map(|apdu| hex::format(&apdu));
        let answered = session.run(&commands.each_ref().map(String::as_str)).await;
        assert!(answered.contains(", 9000, 7C4"), "{answered}");
        session.half_close();
        assert_eq!(session.rest().await, ["over: OK"]);
        assert_eq!(world.signature(Some("family"))?, REFUSED);
        Ok(())
    })
}
