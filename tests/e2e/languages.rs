//! A parent and its children in five languages share two cards on a real pcscd: with client libraries, and with bare
//! stubs.

use std::{
    io::{self, Write},
    iter,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cardbroker_client::{Client, ConnectOptions, Endpoint, GROUP_VARIABLE, ReaderState, Session};
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_proto::{ENDPOINT_VARIABLE, TOKEN_FILE_VARIABLE, v1::ListReadersRequest};
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{
        broker::{Broker, Setup},
        languages::languages,
        pcscd::Pcscd,
        programs::Program,
    },
};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{
    wire::{self, stub},
    world::{
        GET_RESPONSE, LONG, PROTECTED, READER, SELECT_AND_FETCH, VERIFY, answers, arrived, raw_unit, tell, unit,
        wait_for,
    },
};

const READERS: [&str; 2] = [READER, "readers/virtual-pcd-a-00-01"];
const KEY: &str = "the-family";
/// So that all of them wait for the cards, and the speed of the languages does not matter.
const COMMAND_TIME: Duration = Duration::from_millis(5);

/// Two cards, a parent (the test itself), and programs for its children.
struct World {
    /// The program of each language that runs pairs.
    programs: Vec<(&'static str, PathBuf)>,
    parent: Client,
    broker: Broker,
    cards: [VirtualCard; 2],
    _pcscd: Pcscd,
}

impl World {
    async fn new(programs: Vec<(&'static str, PathBuf)>) -> anyhow::Result<Self> {
        let pcscd = Pcscd::start(2)?;
        let card = CardOptions { command_time: COMMAND_TIME, ..CardOptions::default() };
        let cards = [VirtualCard::insert(pcscd.port(0), card)?, VirtualCard::insert(pcscd.port(1), card)?];
        let broker = Setup::on(&pcscd)?.start()?;
        for reader in READERS {
            wait_for(&broker, reader, ReaderState::Ready).await?;
        }
        let options = ConnectOptions { group: Some(KEY.into()), ..ConnectOptions::default() };
        let parent = Client::connect_with(Endpoint::Unix(broker.socket()), options).await?;
        Ok(Self { programs, parent, broker, cards, _pcscd: pcscd })
    }

    /// Starts a process with the family's group key.
    fn child(&self, program: &Path, arguments: &[&str]) -> anyhow::Result<Program> {
        Program::spawn(self.stranger(program, arguments).env(GROUP_VARIABLE, KEY))
    }

    /// A process without the key, not started yet.
    fn stranger(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env(ENDPOINT_VARIABLE, self.broker.endpoint());
        command.env_remove(GROUP_VARIABLE).env_remove(TOKEN_FILE_VARIABLE);
        command
    }

    /// Starts one child in each language; they run pairs.
    fn children(&self, arguments: &[&str]) -> anyhow::Result<Vec<Program>> {
        self.programs.iter().map(|(_, program)| self.child(program, arguments)).collect()
    }

    /// Opens a session of the parent that may idle until all of its children wait.
    async fn hold(&self, reader: &str) -> anyhow::Result<Session> {
        Ok(self.parent.open_session(reader).idle_timeout(Duration::from_secs(60)).open().await?)
    }

    /// Runs the parent's pairs for `time`; none may be broken.
    async fn pairs(&self, reader: &str, time: Duration) -> anyhow::Result<Value> {
        let (mut pairs, end) = (0, Instant::now() + time);
        while Instant::now() < end {
            let answered = raw_unit(&self.parent, reader, &[SELECT_AND_FETCH, GET_RESPONSE]).send().await?;
            ensure!(answers(&answered)[1].ends_with(" 9000"), "{:?}", answers(&answered));
            pairs += 1;
        }
        Ok(json!({"pairs": pairs, "broken": 0}))
    }
}

/// Runs a story with children in Rust and in the languages whose clients could be built.
fn tell_with_children(story: impl AsyncFnOnce(World) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let rust = ("rust", PathBuf::from(env!("CARGO_BIN_EXE_rust-pairs")));
    let others = languages()?.into_iter().map(|language| (language.name, language.program("pairs")));
    let programs = iter::once(rust).chain(others).collect();
    tell(async { story(World::new(programs).await?).await })
}

/// Waits until `callers` callers wait for the end of the session.
async fn until_wait(session: &Session, callers: usize) -> anyhow::Result<()> {
    let waiting = async {
        while session.waiters() as usize != callers {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, waiting).await.with_context(|| format!("{} of {callers} callers wait", session.waiters()))
}

fn count(report: &Value, key: &str) -> anyhow::Result<u64> {
    report[key].as_u64().with_context(|| format!("no {key} in {report}"))
}

#[test]
fn parent_and_children_have_even_turns_and_break_no_pair() -> anyhow::Result<()> {
    const TIME: &str = "5";
    tell_with_children(async |world| {
        // All wait before the first turn, so that all count over the same time.
        let held = [world.hold(READERS[0]).await?, world.hold(READERS[1]).await?];
        let units = world.children(&[READERS[0], "--seconds", TIME])?;
        let sessions = world.children(&[READERS[1], "--seconds", TIME, "--session"])?;
        for session in &held {
            until_wait(session, world.programs.len()).await?;
        }
        for session in held {
            session.close().await?;
        }
        let time = Duration::from_secs(TIME.parse()?);
        let (first, second) = tokio::join!(world.pairs(READERS[0], time), world.pairs(READERS[1], time));
        for (reader, parent, children) in [(READERS[0], first?, units), (READERS[1], second?, sessions)] {
            let reports: Vec<_> = children.into_iter().map(|mut child| child.report()).collect::<Result<_, _>>()?;
            let names = world.programs.iter().map(|(language, _)| *language);
            let told: Vec<_> = iter::once("parent").chain(names).zip(iter::once(parent).chain(reports)).collect();
            writeln!(io::stderr(), "{reader}, for {TIME} s: {told:?}")?;
            let mut turns = Vec::new();
            for (_, report) in &told {
                assert_eq!(count(report, "broken")?, 0, "{told:?}");
                turns.push(count(report, "pairs")?);
            }
            let (least, most) = (turns.iter().min().context("none")?, turns.iter().max().context("none")?);
            // All but equal on an idle machine; with few processors a child misses a turn now and then.
            assert!(20 * least >= 17 * most && *least > 10, "{told:?}");
        }
        Ok(())
    })
}

#[test]
fn a_child_killed_during_its_session_leaves_a_reset_card() -> anyhow::Result<()> {
    tell_with_children(async |world| {
        for (language, program) in &world.programs {
            // All are in one group, so isolation resets nothing: the reset at the end of the killed session removes the
            // verification.
            unit(&world.parent, READERS[1], &[VERIFY]).send().await?;
            let mut holders = Vec::new();
            for reader in READERS {
                let mut holder = world.child(program, &[reader, "--hold"])?;
                ensure!(serde_json::from_str::<Value>(&holder.line()?)? == json!({"holding": true}), "{language}");
                holders.push(holder);
            }
            let others = world.children(&[READERS[0], "--seconds", "1"])?;
            let next = arrived(&world.parent, unit(&world.parent, READERS[1], &[PROTECTED])).await?;
            let resets = world.cards.each_ref().map(VirtualCard::resets_seen);
            let killed = Instant::now();
            drop(holders);
            assert_eq!(answers(&next.await?), ["6982"], "{language}");
            writeln!(io::stderr(), "{language}: killed → the next has had its turn: {:?}", killed.elapsed())?;
            for mut other in others {
                let report = other.report()?;
                assert!(count(&report, "pairs")? > 1 && count(&report, "broken")? == 0, "{language}: {report}");
            }
            assert_eq!(
                world.cards.each_ref().map(VirtualCard::resets_seen),
                resets.map(|before| before + 1),
                "{language}"
            );
        }
        Ok(())
    })
}

#[test]
fn children_share_the_parents_verification_and_strangers_do_not() -> anyhow::Result<()> {
    tell_with_children(async |world| {
        let arguments = [READERS[0], "--seconds", "1", "--protected"];
        unit(&world.parent, READERS[0], &[VERIFY]).send().await?;
        for (mut child, (language, _)) in world.children(&arguments)?.into_iter().zip(&world.programs) {
            let report = child.report()?;
            assert!(count(&report, "pairs")? > 1 && count(&report, "broken")? == 0, "{language}: {report}");
        }
        for (language, program) in &world.programs {
            unit(&world.parent, READERS[0], &[VERIFY]).send().await?;
            let report = Program::spawn(&mut world.stranger(program, &arguments))?.report()?;
            assert!(count(&report, "broken")? == count(&report, "pairs")?, "{language}: {report}");
        }
        Ok(())
    })
}

#[test]
fn bare_stubs_of_each_language_list_and_transmit() -> anyhow::Result<()> {
    let expected = json!({"readers": 2, "status_word": 0x9000});
    tell_with_children(async |world| {
        let mut stub = stub(&world.broker).await?;
        let readers = stub.list_readers(ListReadersRequest::default()).await?.into_inner().readers.len();
        let answered = wire::transmit(&mut stub, wire::request(READER, &[SELECT_AND_FETCH])).await?;
        assert_eq!(json!({"readers": readers, "status_word": wire::apdu(&answered.results[0]).status_word}), expected);
        for language in languages()?.into_iter().filter(|language| language.has_stubs()) {
            let report = Program::spawn(&mut world.stranger(&language.program("bare"), &[READER]))?.report()?;
            assert_eq!(report, expected, "{}", language.name);
        }
        Ok(())
    })
}
