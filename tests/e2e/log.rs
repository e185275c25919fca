//! The log: what it tells about readers and cards, and what it must never hold.

use std::{
    fs,
    io::{BufRead, BufReader, Lines, PipeReader, Read, Write, pipe},
    process::{self, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};
use cardbroker_client::{Command, ErrorReason, ReaderState, StopRule, hex};
use cardbroker_tests::harness::{
    LONGEST,
    broker::{Broker, Setup, program},
    run::{cardbroker, run, wait},
};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::{
    conversation::{Conversation, opening},
    secrets::forms,
    wire::{command, request, stub},
    world::{COUNT, LONG, SELECT_AND_FETCH, VERIFY, answers, arrived, fault, tell, unit, wait_for, wait_until},
};

const READER: &str = "readers/simulated-reader-00";

#[test]
fn a_log_for_programs_tells_what_happens_to_readers_and_cards() -> anyhow::Result<()> {
    tell(async {
        let mut broker = Setup::simulated(1)?.log_level("info").flag("--log-format=json").start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let client = broker.client().await?;
        unit(&client, READER, &[&fault(2, 0, 100)]).send().await?;
        let mut watch = client.watch();
        wait_until(&mut watch, |watch| {
            watch
                .readers()
                .get(READER)
                .is_some_and(|reader| reader.insertion_count == 2 && reader.state() == ReaderState::Ready)
        })
        .await?;
        let insertion = watch.readers()[READER].insertion_id.clone();
        broker.stop()?;
        let lines: Vec<Value> = broker.log().lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let first = lines.first().context("the log is empty")?;
        assert_eq!((&first["message"], &first["backend"]), (&"starting".into(), &"simulated".into()), "{first}");
        assert_eq!(first["version"], env!("CARGO_PKG_VERSION"), "{first}");
        assert!(first["pid"].is_u64() && first["epoch"].as_str().is_some_and(|epoch| epoch.len() == 16), "{first}");
        let about = |key: &str, value: &str| {
            let found: Vec<_> = lines.iter().filter(|line| line[key] == value).collect();
            assert!(!found.is_empty(), "nothing about {key} = {value} in {lines:#?}");
            found
        };
        assert_eq!(about("message", "reader found")[0]["display_name"], "Simulated Reader 00");
        assert_eq!(about("state", "Empty")[0]["reader"], "simulated-reader-00");
        let ready = about("state", "Ready");
        assert_eq!((ready.len(), ready[1]["insertion"].as_str()), (2, Some(&*insertion)));
        assert!(lines.iter().all(|line| line["timestamp"].is_string() && line["level"].is_string()), "{lines:#?}");
        Ok(())
    })
}

/// The lines of units and sessions in a log for programs, each without its time and caller.
fn ends(log: &str) -> anyhow::Result<Vec<String>> {
    let lines: Vec<Value> = log.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let ends =
        lines.iter().filter(|line| ["unit done", "session done"].contains(&line["message"].as_str().unwrap_or("")));
    ends.map(|line| {
        assert_eq!((&line["level"], &line["reader"]), (&"DEBUG".into(), &"simulated-reader-00".into()), "{line}");
        assert!(line["caller"].as_str().is_some_and(|caller| caller.starts_with("process ")), "{line}");
        assert!(line["waited_ms"].is_u64(), "{line}");
        let has_card = line["card_ms"].is_u64() || line["held_ms"].is_u64();
        let (message, outcome) = (line["message"].as_str().context("no text")?, line["outcome"].as_str());
        let count = line["commands"].as_u64().or(line["units"].as_u64()).context("no number")?;
        Ok(format!("{message}: {count}, {}, {}", if has_card { "card" } else { "no card" }, outcome.context("no end")?))
    })
    .collect()
}

/// Waits until the log has so many lines with `text`: a client that goes away is noticed a moment later.
pub(crate) async fn lines(broker: &Broker, text: &str, count: usize) -> anyhow::Result<()> {
    let has_them = async {
        while broker.log().matches(text).count() < count {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONGEST, has_them).await.with_context(|| format!("the log has no {count} lines with {text}"))
}

#[test]
fn every_unit_and_every_session_leaves_one_line() -> anyhow::Result<()> {
    tell(async {
        let setup = Setup::simulated(1)?.log_level("debug").flag("--log-format=json");
        let mut broker = setup.start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let client = broker.client().await?;
        unit(&client, READER, &[COUNT, COUNT]).send().await?;
        // A repeat joins a unit or gets its outcome: it is no second one.
        for _ in 0..2 {
            unit(&client, READER, &[COUNT]).request_id([7; 16]).send().await?;
        }

        let mut session = Conversation::open(&stub(&broker).await?, opening(READER)).await?;
        session.run(&[COUNT]).await;
        let impatient = unit(&client, READER, &[COUNT, COUNT, COUNT]).wait_timeout(Duration::from_millis(50));
        assert_eq!(impatient.send().await.unwrap_err().reason(), Some(ErrorReason::QueueTimeout));
        drop(arrived(&client, unit(&client, READER, &[COUNT])).await?);
        lines(&broker, "unit done", 5).await?;
        session.run(&[COUNT, COUNT]).await;
        assert_eq!(session.close().await, ["over: OK"]);
        Conversation::open(&stub(&broker).await?, opening(READER)).await?.reset();
        lines(&broker, "session done", 2).await?;

        assert!(unit(&client, READER, &[COUNT, &fault(1, 0, 100), COUNT]).send().await.is_err());
        broker.stop()?;
        assert_eq!(
            ends(&broker.log())?,
            [
                "unit done: 2, card, ok",
                "unit done: 1, card, ok",
                "unit done: 1, card, ok",
                "unit done: 3, no card, QUEUE_TIMEOUT",
                "unit done: 1, no card, abandoned",
                "unit done: 2, card, ok",
                "session done: 2, card, ok",
                "session done: 0, card, abandoned",
                "unit done: 3, card, CARD_REMOVED",
            ]
        );
        Ok(())
    })
}

#[test]
fn the_line_of_a_unit_is_one_sentence_for_people() -> anyhow::Result<()> {
    tell(async {
        let mut broker = Setup::simulated(1)?.log_level("info,cardbroker::unit=debug").start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let client = broker.client().await?;
        unit(&client, READER, &[COUNT, COUNT]).send().await?;
        Conversation::open(&stub(&broker).await?, opening(READER)).await?.close().await;
        broker.stop()?;
        let log = broker.log();
        let lines: Vec<_> = log.lines().filter(|line| line.contains(" done ")).collect();
        let [line] = lines[..] else { panic!("{lines:#?}") };
        let (_, sentence) = line.split_once("unit done ").context(line.to_owned())?;
        let caller = format!("caller=\"process {} of user ", process::id());
        let fields = sentence.strip_prefix("reader=simulated-reader-00 ").and_then(|rest| rest.strip_prefix(&*caller));
        let (_, fields) = fields.and_then(|rest| rest.split_once("\" ")).context(line.to_owned())?;
        let shown: String = fields.chars().filter(|letter| !letter.is_ascii_digit()).collect();
        assert_eq!(shown, "commands= waited_ms= card_ms= outcome=ok", "{line}");
        Ok(())
    })
}

#[test]
fn not_even_the_most_talkative_log_has_a_byte_of_an_apdu() -> anyhow::Result<()> {
    tell(async {
        let mut broker = Setup::simulated(1)?.log_level("trace").start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let mut marker = [0; 16];
        fs::File::open("/dev/urandom")?.read_exact(&mut marker)?;
        let text = hex::format(&marker);
        let client = broker.client().await?;
        let echo = format!("8014000010{text}00");
        assert_eq!(answers(&unit(&client, READER, &[&echo]).send().await?), [format!("{text} 9000")]);
        // As PIN, in what fails in every way, and where the transport itself refuses.
        for apdus in [
            [&format!("0020008010{text}"), COUNT],
            [&format!("80F0060010{text}"), COUNT],
            [&format!("8014000011{text}"), COUNT],
        ] {
            let _ = unit(&client, READER, &apdus).send().await;
        }
        let lost = [&*echo, &fault(6, 0, 0)];
        assert!(unit(&client, READER, &lost).send().await.is_err());
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let mut session = Conversation::open(&stub(&broker).await?, opening(READER)).await?;
        assert_eq!(session.run(&[&echo]).await, format!("1: {text} 9000"));
        assert_eq!(session.close().await, ["over: OK"]);
        let long = vec![&*echo; 64];
        let mut too_long = request(READER, &long);
        too_long.commands[0] = command(marker.repeat(70_000));
        assert!(stub(&broker).await?.transmit(too_long).await.is_err());

        broker.stop()?;
        let log = fs::read(broker.folder().join("log"))?;
        let shown = String::from_utf8_lossy(&log).to_lowercase();
        for told in ["unit done", "session done"] {
            ensure!(shown.contains(told), "the log says nothing of {told}: {shown}");
        }
        for form in forms(&marker[..8]) {
            assert!(memchr::memmem::find(&log, &form).is_none(), "{} in {shown}", form.escape_ascii());
        }
        Ok(())
    })
}

/// The lines of the trace in a log for programs.
fn traced(log: &str) -> anyhow::Result<Vec<Value>> {
    let mut lines: Vec<Value> = log.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    lines.retain(|line| line["target"] == "cardbroker::apdu");
    assert!(lines.iter().all(|line| line["reader"] == "simulated-reader-00" && line["number"].is_u64()), "{lines:#?}");
    Ok(lines)
}

/// The commands in the lines of a trace, each as `header Le application status`, and `masked` if there is more.
fn commands(lines: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let commands = lines.iter().filter(|line| line["message"] == "command").map(|line| {
        let fields = ["header", "expected_length", "application", "status_word"].map(|key| text(&line[key]));
        let masked = if line["is_masked"] == true { " masked" } else { "" };
        format!("{}{masked}", fields.join(" ").replace("null", "-"))
    });
    commands.collect()
}

#[test]
fn one_key_has_the_trace_logged() -> anyhow::Result<()> {
    tell(async {
        let trace = "log = { apdus = true, secret_instructions = [\"B0\"] }";
        let setup = Setup::simulated(1)?.configuration(trace).log_level("info").flag("--log-format=json");
        let mut broker = setup.start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let client = broker.client().await?;
        unit(&client, READER, &[SELECT_AND_FETCH, VERIFY, "00B0000004", &fault(6, 0, 0)]).send().await.unwrap_err();
        broker.stop()?;
        let warns = |line: &str| line.contains("log.apdus is on");
        assert!(broker.log().lines().take(2).any(warns), "{}", broker.log());
        let lines = traced(&broker.log())?;
        assert_eq!(
            commands(&lines),
            [
                "00A40400 256 F04341524401 6113",
                "00C00000 19 - 9000 masked",
                "00200080 - - 9000 masked",
                "00B00000 - - 9000 masked",
                "80F00600 - - - masked",
            ]
        );
        let about = |message: &str| lines.iter().filter(|line| line["message"] == message).collect::<Vec<_>>();
        let [began, ended] = ["turn began", "turn ended"].map(|message| about(message)[0].clone());
        assert_eq!((&began["commands"], &began["lease"]), (&4.into(), &ended["lease"]), "{began} {ended}");
        assert!(began["caller"].as_str().is_some_and(|caller| caller.starts_with("process ")), "{began}");
        assert_eq!(ended["outcome"], "CARD_LOST", "{ended}");
        let verify = about("command")[2];
        assert_eq!((&verify["took_us"], &verify["class"]), (&50_000.into(), &"verify".into()), "{verify}");
        assert!(!about("reset").is_empty() && !about("card inserted").is_empty(), "{lines:#?}");
        Ok(())
    })
}

#[test]
fn of_bytes_that_are_no_apdu_the_trace_shows_nothing() -> anyhow::Result<()> {
    tell(async {
        let setup = Setup::simulated(1)?.configuration("log.apdus = true").log_level("info");
        let mut broker = setup.flag("--log-format=json").start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let client = broker.client().await?;
        // A PIN behind a wrong length, in an instruction that nobody masks, and too short to have a header.
        let secret = format!("{:016X}", fastrand::u64(..));
        let select = "00A4040006F04341524401";
        let apdus = [
            &*format!("00200080FF{secret}"),
            &format!("00B00000FF{secret}"),
            &secret[..6],
            select,
            "00C0000013",
            select,
        ];
        let raw = apdus.map(|apdu| Command::new(hex::parse(apdu).unwrap()).raw().stop_rule(StopRule::Any));
        let answered = client.transmit(READER).commands(raw).send().await?;
        assert_eq!(answers(&answered)[..3], ["6700", "6700", "6700"]);
        broker.stop()?;
        assert!(!broker.log().to_uppercase().contains(&secret), "{}", broker.log());
        assert_eq!(
            commands(&traced(&broker.log())?),
            [
                "- - - - masked",
                "- - - - masked",
                "- - - - masked",
                // The next command may continue them.
                "00A40400 - - 9000 masked",
                "00C00000 - - 9000 masked",
                "00A40400 - F04341524401 6113",
            ]
        );
        Ok(())
    })
}

#[test]
fn a_broker_whose_log_nobody_reads_any_more_serves_on() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("cardbroker.sock");
    let mut command = process::Command::new(program("cardbrokerd")?);
    command.args(["--config", "/dev/null", "--simulate", "1", "--log", "debug", "--socket"]).arg(&socket);
    let mut broker = command.stderr(Stdio::piped()).spawn()?;
    let mut log = BufReader::new(broker.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("state=Ready") {
        line.clear();
        ensure!(log.read_line(&mut line)? > 0, "it has ended");
    }
    drop(log);
    let endpoint = format!("unix:{}", socket.display());
    let told = run(&mut cardbroker(&endpoint, &["transmit", READER, "80F002000400000000", "--wait-for-card"])?);
    let after = run(&mut cardbroker(&endpoint, &["transmit", READER, COUNT, "--wait-for-card"])?);
    let alive = broker.try_wait()?.is_none();
    broker.kill()?;
    broker.wait()?;
    assert!(alive, "it has ended");
    assert_eq!((told?.code, after?.out), (Some(0), "00000001 9000\n".into()));
    Ok(())
}

/// Has sessions denied to a client until far more is logged than a pipe and the broker hold.
async fn flood(broker: &Broker) -> anyhow::Result<()> {
    let client = broker.client().await?;
    for _ in 0..1_000 {
        let opened = timeout(LONG, client.open_session(READER).open()).await.context("the log holds the broker up")?;
        assert_eq!(opened.unwrap_err().reason(), Some(ErrorReason::Denied));
    }
    Ok(())
}

/// The records until gaps count `enough` lost lines, or else to the end, and that count. Each record must be whole.
fn records(log: &mut Lines<BufReader<PipeReader>>, enough: u64) -> anyhow::Result<(Vec<Value>, u64)> {
    let (mut records, mut lost) = (Vec::new(), 0);
    for line in log {
        let line = line?;
        let record: Value = serde_json::from_str(&line).context(line)?;
        if record["message"] == "log lines were lost" {
            assert_eq!((&record["level"], &record["lane"]), (&"WARN".into(), &"ordinary".into()), "{record}");
            assert!(record["timestamp"].is_string(), "{record}");
            lost += record["lines"].as_u64().context("no count")?;
        }
        records.push(record);
        if lost >= enough {
            break;
        }
    }
    Ok((records, lost))
}

#[test]
fn stuck_log_reader_blocks_nobody_and_gaps_are_counted() -> anyhow::Result<()> {
    tell(async {
        let (reader, writer) = pipe()?;
        let mut log = BufReader::new(reader).lines();
        let rules = "rule = [{ name = 'no sessions', principals = ['self'], deny = ['session'] }]";
        let level = "trace,h2=trace,hyper=trace,hyper_util=trace,tonic=trace,tower=trace";
        let setup = Setup::simulated(1)?.configuration(rules).log_level(level).flag("--log-format=json");
        let mut broker = setup.log_pipe(writer).start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let other = broker.client().await?;
        let serves = async || {
            assert_eq!(answers(&timeout(LONG, unit(&other, READER, &[COUNT]).send()).await??).len(), 1);
            assert_eq!(broker.cardbroker(&["readers"])?.code, Some(0));
            anyhow::Ok(())
        };
        tokio::try_join!(flood(&broker), serves())?;
        serves().await?;

        let read = tokio::task::spawn_blocking(move || records(&mut log, 1_000).map(|(told, _)| (told, log)));
        let (told, mut log) = timeout(LONG, read).await.context("no gap is reported")???;
        let denied = told.iter().filter(|record| record["event"] == "denied" && record["repeated"].is_null());
        assert_eq!(denied.count(), 1, "the audit trail has a place of its own");

        flood(&broker).await?;
        assert!(broker.stop()?.success());
        let (rest, _) = records(&mut log, u64::MAX)?;
        assert!(rest.len() > 100, "the pipe holds {} records", rest.len());
        Ok(())
    })
}

#[test]
fn a_broker_that_cannot_start_ends_even_if_nobody_reads_why() -> anyhow::Result<()> {
    let broker = Setup::simulated(1)?.start()?;
    let (_reader, mut writer) = pipe()?;
    // As much as it holds.
    writer.write_all(&[b'.'; 64 << 10])?;
    let mut second = process::Command::new(program("cardbrokerd")?);
    second.args(["--config", "/dev/null", "--simulate", "1", "--socket"]).arg(broker.socket()).stderr(writer);
    assert_eq!(wait(&mut second.spawn()?, LONG)?.code(), Some(4), "another broker is running");
    Ok(())
}
