//! The card passes from one process to the next: when its holder is killed, and fairly when all want it.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_proto::{ENDPOINT_VARIABLE, v1::open_session_request::Request};
use cardbroker_tests::harness::programs::Program;

use crate::{
    conversation::{Conversation, GROUP, opening},
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
const SECONDS: &str = "10";

/// A program that saturates the card with `depth` units at a time, once started.
fn saturator(world: &PcscWorld, depth: &str) -> anyhow::Result<Child> {
    let mut process = Command::new(env!("CARGO_BIN_EXE_saturator"))
        .args([READER, "00B2010410", SECONDS, depth])
        .env(ENDPOINT_VARIABLE, world.broker.endpoint())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::with_capacity(16, process.stdout.as_mut().context("no output")?).read_line(&mut line)?;
    ensure!(line == "ready\n", "{line}");
    Ok(process)
}

fn turns(mut process: Child) -> anyhow::Result<u64> {
    let mut turns = String::new();
    process.stdout.as_mut().context("no output")?.read_to_string(&mut turns)?;
    ensure!(process.wait()?.success());
    Ok(turns.trim().parse()?)
}

#[test]
fn eight_programs_share_a_busy_card_evenly_although_one_pipelines() -> anyhow::Result<()> {
    tell(async {
        let card = CardOptions { command_time: Duration::from_millis(5), ..CardOptions::default() };
        let world = PcscWorld::new("", card).await?;
        let depths = ["64", "1", "1", "1", "1", "1", "1", "1"];
        let mut programs: Vec<_> =
            depths.iter().map(|depth| saturator(&world, depth)).collect::<anyhow::Result<_>>()?;
        for program in &mut programs {
            drop(program.stdin.take());
        }
        let turns = programs.into_iter().map(turns).collect::<anyhow::Result<Vec<_>>>()?;
        let (least, most) = (turns.iter().min().context("none")?, turns.iter().max().context("none")?);
        writeln!(io::stderr(), "turns of {PROGRAMS} programs in {SECONDS} s, the first pipelining 64 deep: {turns:?}")?;
        assert!(10 * least >= 9 * most && *least > 100, "{turns:?}");
        Ok(())
    })
}
