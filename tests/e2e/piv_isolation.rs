//! A verified PIN of a real card application, and later processes.

use anyhow::{Context, ensure};
use cardbroker_client::{GROUP_VARIABLE, hex};
use cardbroker_tests::{cards::piv, harness::run::cardbroker};

use crate::{
    conversation::{Conversation, GROUP, opening},
    piv_world::PivWorld,
    wire::stub,
    world::{READER, tell},
};

const REFUSED: &str = "6982";

impl PivWorld {
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
        let world = PivWorld::new().await?;
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
        let world = PivWorld::new().await?;
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
        let world = PivWorld::new().await?;
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
