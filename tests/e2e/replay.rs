//! A recorded trace, and its replay by another broker, with the real programs.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cardbroker_client::ReaderState;
use cardbroker_tests::harness::{
    broker::{Broker, Setup},
    programs::Program,
    run::{cardbroker, run},
};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    daemon::cardbrokerd,
    world::{COUNT, LONG, SELECT_AND_FETCH, VERIFY, answers, fault, refusal, tell, unit, wait_for, wait_until},
};

const T1: &str = "readers/simulated-reader-00";
const T0: &str = "readers/simulated-reader-01";

/// Commands whose data a trace shows; the broker completes the answers of some of them.
const HARMLESS: [&str; 5] = [SELECT_AND_FETCH, "00B2010400", "00CA010000", "00B0000140", "00B000400A"];

/// A trace with data that is recorded by the command line.
struct Recorder {
    program: Program,
    file: PathBuf,
}

impl Recorder {
    /// Begins a trace of all readers; it has the cards of `readers`.
    fn begin(broker: &Broker, readers: &[&str]) -> anyhow::Result<Self> {
        let file = broker.folder().join("x.jsonl");
        let arguments = ["trace", "--data", "-o", file.to_str().context("no text")?];
        let program = Program::spawn(&mut cardbroker(&broker.endpoint(), &arguments)?)?;
        let recorder = Self { program, file };
        recorder.until(|text| text.matches("card_present").count() == readers.len())?;
        Ok(recorder)
    }

    /// Waits until the file fits.
    fn until(&self, wished: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + LONG;
        while !wished(&fs::read_to_string(&self.file).unwrap_or_default()) {
            ensure!(Instant::now() < deadline, "not recorded: {}", fs::read_to_string(&self.file)?);
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Ends the trace after this number of turns, like Ctrl-C.
    fn end(self, turns: usize) -> anyhow::Result<PathBuf> {
        self.until(|text| text.matches("\"turn_ended\"").count() >= turns)?;
        kill_process(Pid::from_raw(i32::try_from(self.program.id())?).context("no process")?, Signal::INT)?;
        Ok(self.file)
    }
}

/// The only line of the log about the end of a replay at `reader`.
fn end_of_replay(broker: &Broker, reader: &str) -> anyhow::Result<String> {
    let log = broker.settled_log();
    let id = reader.trim_start_matches("readers/");
    let of_reader = |line: &&str| line.contains("the replay of a reader has ended") && line.contains(id);
    let lines: Vec<_> = log.lines().filter(of_reader).collect();
    ensure!(lines.len() == 1, "{log}");
    Ok(lines[0].to_owned())
}

#[test]
fn a_recorded_trace_gives_the_same_answers_in_another_broker() -> anyhow::Result<()> {
    tell(async {
        let traced = Setup::simulated(2)?.start()?;
        let mut atrs = Vec::new();
        for reader in [T1, T0] {
            atrs.push(wait_for(&traced, reader, ReaderState::Ready).await?.atr);
        }
        let recorder = Recorder::begin(&traced, &[T1, T0])?;
        let mut recorded = Vec::new();
        for reader in [T1, T0] {
            // Each client is another group, so the broker resets the card between them.
            recorded.push(answers(&unit(&traced.client().await?, reader, &HARMLESS).send().await?));
            recorded.push(answers(&unit(&traced.client().await?, reader, &HARMLESS[..1]).send().await?));
        }
        unit(&traced.client().await?, T1, &[VERIFY]).send().await?;
        let file = recorder.end(5)?;
        let shown = run(&mut cardbroker("", &["trace", "show", file.to_str().context("no text")?])?)?;
        ensure!(shown.code == Some(0) && shown.out.contains("card present, ATR 3B"), "{shown:?}");
        ensure!(shown.out.contains("#5 READ BINARY 00 B0 00 40 Le 10 -> 9000"), "{shown:?}");

        let replaying = Setup::replaying(&file)?.start()?;
        let (client, mut replayed) = (replaying.client().await?, Vec::new());
        for (reader, atr) in [T1, T0].into_iter().zip(atrs) {
            assert_eq!(wait_for(&replaying, reader, ReaderState::Ready).await?.atr, atr);
            for apdus in [&HARMLESS[..], &HARMLESS[..1]] {
                replayed.push(answers(&unit(&client, reader, apdus).send().await?));
            }
        }
        assert_eq!(replayed, recorded);
        assert_eq!(refusal(unit(&client, T1, &[VERIFY])).await?, "CARD_REMOVED unknown");
        wait_for(&replaying, T1, ReaderState::Empty).await?;
        let line = end_of_replay(&replaying, T1)?;
        ensure!(line.contains("does not show this command") && line.matches("00200080").count() == 2, "{line}");
        Ok(())
    })
}

#[test]
fn a_different_command_ends_the_replay_with_both_headers() -> anyhow::Result<()> {
    tell(async {
        let traced = Setup::simulated(1)?.start()?;
        wait_for(&traced, T1, ReaderState::Ready).await?;
        let recorder = Recorder::begin(&traced, &[T1])?;
        unit(&traced.client().await?, T1, &[SELECT_AND_FETCH, "00B2010410"]).send().await?;
        let file = recorder.end(1)?;

        let replaying = Setup::replaying(&file)?.log_level("trace").start()?;
        wait_for(&replaying, T1, ReaderState::Ready).await?;
        let client = replaying.client().await?;
        let told = refusal(unit(&client, T1, &[SELECT_AND_FETCH, VERIFY])).await?;
        assert_eq!(told, "CARD_REMOVED unknown at 1 after 1 answers");
        wait_for(&replaying, T1, ReaderState::Empty).await?;
        let line = end_of_replay(&replaying, T1)?;
        ensure!(line.contains("00B20104") && line.contains("00200080") && line.contains("differs"), "{line}");
        let log = replaying.settled_log();
        ensure!(!log.contains("3132333435363738") && !log.contains("12345678"), "{log}");
        Ok(())
    })
}

#[test]
fn insertions_of_a_trace_are_replayed_one_after_the_other() -> anyhow::Result<()> {
    const SHOWN: &str = "diagnostics.trace_data = [{ class = '80', instruction = 'xx' }]";
    tell(async {
        let traced = Setup::simulated(1)?.configuration(SHOWN).start()?;
        wait_for(&traced, T1, ReaderState::Ready).await?;
        let recorder = Recorder::begin(&traced, &[T1])?;
        let recorded = two_cards(&traced).await?;
        let file = recorder.end(2)?;
        let replaying = Setup::replaying(&file)?.start()?;
        wait_for(&replaying, T1, ReaderState::Ready).await?;
        assert_eq!(two_cards(&replaying).await?, recorded);
        ensure!(!replaying.settled_log().contains("the replay of a reader has ended"));
        Ok(())
    })
}

/// Uses a card that leaves after its last command, and the card that comes instead. Returns the answers of both, and
/// the second one's ATR.
async fn two_cards(broker: &Broker) -> anyhow::Result<(Vec<String>, Vec<String>, Vec<u8>)> {
    let client = broker.client().await?;
    let mut watch = client.watch();
    let first = answers(&unit(&client, T1, &[COUNT, COUNT, &fault(2, 0, 300)]).send().await?);
    let next = |reader: &cardbroker_client::Reader| reader.state() == ReaderState::Ready && reader.insertion_count == 2;
    wait_until(&mut watch, |watch| watch.readers().get(T1).is_some_and(next)).await?;
    let atr = watch.readers().get(T1).context("gone")?.atr.clone();
    let second = answers(&unit(&client, T1, &[COUNT]).send().await?);
    Ok((first, second, atr.to_vec()))
}

#[test]
fn a_trace_that_cannot_be_replayed_is_a_configuration_mistake() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (path, socket) = (folder.path().join("x.jsonl"), folder.path().join("cardbroker.sock"));
    let (file, socket_flag) = (path.to_str().context("no text")?, socket.to_str().context("no text")?);
    let refused = |flags: &[&str], code: i32, expected: &str| -> anyhow::Result<()> {
        for more in [&[][..], &["--check-config"]] {
            let given = ["--config", "/dev/null", "--socket", socket_flag, "--simulate-from", file];
            let run = cardbrokerd(&[&given, flags, more].concat())?;
            ensure!(run.code == Some(code) && run.err.contains(expected), "{run:?}\nexpected {expected}");
        }
        ensure!(!Path::new(socket_flag).exists(), "a socket was opened");
        Ok(())
    };
    refused(&[], 3, "x.jsonl: cannot read the trace: No such file")?;
    fs::write(&path, "{\"event\":\"trace_began\",\"version\":1}\nsecret\n")?;
    refused(&[], 3, "x.jsonl:2: is not an event of a trace")?;
    refused(&["--simulate", "1"], 2, "cannot be used with")?;
    let config = folder.path().join("c.toml");
    fs::write(&config, format!("[readers]\nsimulate = 1\nsimulate_from = \"{file}\""))?;
    let run = cardbrokerd(&["--check-config", "--config", config.to_str().context("no text")?])?;
    ensure!(run.code == Some(3) && run.err.contains("c.toml:3:1: readers.simulate_from: not allowed"), "{run:?}");
    Ok(())
}
