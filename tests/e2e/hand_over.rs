//! The card passes from one process to the next: when its holder is killed, and fairly when all want it.

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::{Context, ensure};
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_proto::v1::open_session_request::Request;
use cardbroker_tests::harness::programs::Program;

use crate::{
    conversation::{Conversation, GROUP, opening},
    talkers::{saturator_with, turns},
    wire::stub,
    world::{PROTECTED, PcscWorld, READER, VERIFY, tell},
};

const KILLS: usize = 100;

#[test]
fn after_a_killed_holder_the_card_is_reset_at_once() -> anyhow::Result<()> {
    tell(async {
        let world = PcscWorld::usual().await?;
        let stub = stub(&world.broker).await?;
        let socket = world.broker.socket();
        // In one group, so that a reset for isolation cannot hide a missing reset at the session's end.
        let arguments = [socket.to_str().context("no text")?, READER, VERIFY, PROTECTED, "--group", "family"];
        for _ in 0..KILLS {
            let mut holder = Program::start(env!("CARGO_BIN_EXE_session-holder"), &world.pcscd, &arguments)?;
            ensure!(holder.line()? == "holding");
            let mut waiting = Conversation::start(&stub, &[(GROUP, "family")]).await?;
            waiting.say(Request::Open(opening(READER)), false);
            assert_eq!(waiting.hear().await, "ahead 1");
            let resets = world.card.resets_seen();
            drop(holder);
            assert_eq!(waiting.answer().await, "opened");
            assert_eq!(world.card.resets_seen(), resets + 1);
            assert_eq!(waiting.run(&[PROTECTED]).await, "1: 6982");
            assert_eq!(waiting.close().await, ["over: OK"]);
        }
        Ok(())
    })
}

const PROGRAMS: usize = 8;
const SECONDS: u64 = 10;

#[test]
fn eight_programs_share_a_busy_card_evenly_although_one_pipelines() -> anyhow::Result<()> {
    tell(async {
        let card = CardOptions { command_time: Duration::from_millis(5), ..CardOptions::default() };
        let world = PcscWorld::new("", card).await?;
        let depths = ["64", "1", "1", "1", "1", "1", "1", "1"];
        let saturator = |depth| saturator_with(&world.broker, READER, "00B2010410", SECONDS, None, &[depth]);
        let turns = turns(depths.map(saturator).into_iter().collect::<anyhow::Result<_>>()?)?;
        let (least, most) = (turns.iter().min().context("none")?, turns.iter().max().context("none")?);
        writeln!(io::stderr(), "turns of {PROGRAMS} programs in {SECONDS} s, the first pipelining 64 deep: {turns:?}")?;
        assert!(10 * least >= 9 * most && *least > 100, "{turns:?}");
        Ok(())
    })
}
