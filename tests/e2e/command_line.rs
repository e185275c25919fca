//! The program `cardbroker` against a real broker: its output and its exit codes.

use std::{
    io::{BufRead, BufReader},
    os::unix::fs::MetadataExt,
    process::{Child, Command, Stdio},
};

use cardbroker_client::ReaderState;
use cardbroker_core::slot::Protocol;
use cardbroker_proto::ENDPOINT_VARIABLE;
use cardbroker_tests::harness::{
    broker::{Broker, program},
    run::{Run, cardbroker, run, run_with_input, wait},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, UnixStream},
};

use crate::world::{COUNT, INCREMENT, LONG, LONGEST, SELECT, SELECT_AND_FETCH, Stage, fault, slow, tell, wait_for};

const READER: &str = "simulated-reader-00";
const FCI: &str = "6F118406F043415244015307434201";
const RECORD: &str = "00B2010410";

/// A broker with two simulated readers whose cards are ready.
async fn broker() -> anyhow::Result<Broker> {
    Ok(Stage::simulated(Protocol::T1).await?.broker)
}

/// Exit code, standard output and standard error of one run, which must print text only.
fn told(run: &Run) -> (Option<i32>, &str, &str) {
    (run.code, &run.out, &run.err)
}

fn json_of(text: &str) -> anyhow::Result<Value> {
    assert_eq!(text.lines().count(), 1, "{text}");
    Ok(serde_json::from_str(text)?)
}

/// Runs a program while the test goes on.
async fn in_background(mut command: Command) -> anyhow::Result<Run> {
    tokio::task::spawn_blocking(move || run(&mut command)).await?
}

/// The card's count of commands: it must not change where nothing was sent.
fn commands_seen(broker: &Broker) -> anyhow::Result<u64> {
    let run = broker.cardbroker(&["transmit", READER, COUNT])?;
    Ok(u64::from_str_radix(run.out.split(' ').next().unwrap(), 16)?)
}

#[test]
fn readers_are_a_list_or_one_json_array() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        wait_for(&broker, "readers/simulated-reader-01", ReaderState::Ready).await?;
        let list = "\
READER               STATE  NAME
simulated-reader-00  READY  Simulated Reader 00
    T=1  ATR 3B880180664342000000006E
simulated-reader-01  READY  Simulated Reader 01
    T=0  ATR 3B088066434200010000
";
        assert_eq!(told(&broker.cardbroker(&["readers"])?), (Some(0), list, ""));

        broker.cardbroker(&["transmit", READER, &fault(2, 0, 0xFFFF)])?;
        wait_for(&broker, "readers/simulated-reader-00", ReaderState::Empty).await?;
        let readers = json_of(&broker.cardbroker(&["readers", "--json"])?.out)?;
        let empty = json!({
            "name": "readers/simulated-reader-00", "display_name": "Simulated Reader 00", "state": "EMPTY", "atr": null,
            "active_protocol": null, "insertion_id": null, "insertion_count": 1,
        });
        assert_eq!((&readers[0], &readers[1]["active_protocol"], readers[2].is_null()), (&empty, &json!("T0"), true));
        let no_card = broker.cardbroker(&["transmit", READER, SELECT])?;
        assert_eq!((no_card.code, no_card.err.starts_with("cardbroker: the reader is empty: ")), (Some(4), true));
        Ok(())
    })
}

#[test]
fn a_unit_prints_one_line_for_each_command() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let run = broker.cardbroker(&[
            "transmit",
            READER,
            "00 A4 04 00 06 F0:43:41:52:44:01 00",
            "8012000004",
            "0020 0080",
        ])?;
        assert_eq!(told(&run), (Some(0), &*format!("{FCI}00000000 9000\n00000001 9000\n63C3\n"), ""));
        let run = broker.cardbroker(&["transmit", "--raw", READER, SELECT_AND_FETCH, "00C0000013"])?;
        assert_eq!(told(&run), (Some(0), &*format!("6113\n{FCI}00000000 9000\n"), ""));
        // The card of the other reader is a strict T=0 one: it gets raw commands unchanged.
        let run = broker.cardbroker(&["transmit", "--raw", "reader-01", SELECT_AND_FETCH])?;
        assert_eq!(told(&run), (Some(0), "6700\n", ""));

        let run = broker.cardbroker(&["--json", "transmit", READER, SELECT_AND_FETCH, RECORD])?;
        let mut unit = json_of(&run.out)?;
        assert!(unit["results"][0]["card_duration_us"].take().is_u64(), "{unit}");
        let first = json!({
            "data": format!("{FCI}00000000"), "status_word": "9000", "meaning": "done",
            "status_word_source": "GET_RESPONSE", "get_response_count": 1, "card_duration_us": null,
        });
        assert_eq!((&unit["results"][0], &unit["results"][1]["status_word_source"]), (&first, &json!("COMMAND")));
        assert_eq!((&unit["reader"], &unit["stopped"]), (&json!("readers/simulated-reader-00"), &Value::Null));
        assert_eq!((&unit["was_reset"], &unit["replayed"]), (&json!(false), &json!(false)));
        for text in ["insertion_id", "state_tag"] {
            assert!(unit[text].as_str().is_some_and(|text| !text.is_empty()), "{unit}");
        }
        assert!(unit["card_duration_us"].is_u64() && unit["queue_duration_us"].is_u64(), "{unit}");
        Ok(())
    })
}

#[test]
fn every_unique_name_selects_its_reader() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        for name in
            [READER, "readers/simulated-reader-00", "Simulated Reader 00", "simulated READER 00", "er-00", "r 00"]
        {
            let run = broker.cardbroker(&["transmit", name, RECORD])?;
            assert_eq!(told(&run), (Some(0), "53696D756C61746564207265636F7264 9000\n", ""), "{name}");
        }
        let both =
            "readers/simulated-reader-00 (Simulated Reader 00), readers/simulated-reader-01 (Simulated Reader 01)";
        let run = broker.cardbroker(&["transmit", "simulated", SELECT])?;
        assert_eq!(told(&run), (Some(4), "", &*format!("cardbroker: several readers match \"simulated\": {both}\n")));
        let run = broker.cardbroker(&["transmit", "yubikey", SELECT])?;
        assert_eq!(
            told(&run),
            (Some(4), "", &*format!("cardbroker: no reader matches \"yubikey\"; there are: {both}\n"))
        );
        Ok(())
    })
}

#[test]
fn apdus_come_from_standard_input_where_nobody_sees_them() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let mut stdin = cardbroker(&broker.endpoint(), &["transmit", READER, "-"])?;
        let longest = format!("8014000000FFFF{}0000", "5A".repeat(65_535));
        let run = run_with_input(&mut stdin, &format!("00 A4 04 00 06 F04341524401\n\n{INCREMENT}\r\n{longest}\n"))?;
        assert_eq!((run.code, run.out.lines().count(), &*run.err), (Some(0), 3, ""));
        assert!(run.out.ends_with(&format!("\n00000001 9000\n{} 9000\n", "5A".repeat(65_535))));
        Ok(())
    })
}

#[test]
fn malformed_input_is_reported_by_position_and_reaches_no_card() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let before = commands_seen(&broker)?;
        let many = [INCREMENT; 65];
        for (apdus, expected) in [
            (&[INCREMENT, "00A4 0y00"][..], "APDU 2: not a hexadecimal digit at position 7"),
            (&["8012000"], "APDU 1: an odd number of hexadecimal digits (7): the last byte is incomplete"),
            (&[INCREMENT, "00A404"], "APDU 2: 3 bytes; an APDU has 4 to 65544"),
            (&[INCREMENT, ""], "APDU 2: empty"),
            (
                &[INCREMENT, "00A4040006F043"],
                "commands[1].apdu.bytes: Lc says 6 data bytes, but 2 bytes follow it: expected 6, or 6 and Le",
            ),
            (&many, "65 APDUs; a unit has at most 64"),
        ] {
            let run = broker.cardbroker(&[&["transmit", READER], apdus].concat())?;
            assert_eq!(told(&run), (Some(2), "", &*format!("cardbroker: {expected}\n")));
        }
        let mut stdin = cardbroker(&broker.endpoint(), &["transmit", READER, "-"])?;
        for (text, expected) in [
            (format!("{INCREMENT}\n\n00 2G"), "line 3: not a hexadecimal digit at position 5"),
            (format!("{INCREMENT}\n{}", "00".repeat(65_545)), "line 2: 65545 bytes; an APDU has 4 to 65544"),
            ("\n \n".into(), "no APDU given"),
            (format!("{INCREMENT}\n").repeat(65), "65 APDUs; a unit has at most 64"),
        ] {
            let run = run_with_input(&mut stdin, &text)?;
            assert_eq!(told(&run), (Some(2), "", &*format!("cardbroker: {expected}\n")));
        }
        let run = broker.cardbroker(&["transmit", READER, "00 2G", "--json"])?;
        let error = json_of(&run.err)?;
        assert_eq!((run.code, &error["error"]["delivery"]), (Some(2), &json!("not_sent")), "{error}");
        for arguments in [&["transmit", READER][..], &["transmit"], &["steal"], &["readers", "--endpoint", "nowhere"]] {
            let run = broker.cardbroker(arguments)?;
            assert_eq!((run.code, &*run.out, run.err.is_empty()), (Some(2), "", false), "{run:?}");
        }
        assert_eq!(commands_seen(&broker)?, before + 1, "the card saw a command");
        Ok(())
    })
}

#[test]
fn the_exit_code_follows_from_the_outcome() -> anyhow::Result<()> {
    tell(async {
        let stage = Stage::simulated(Protocol::T1).await?;
        let broker = &stage.broker;
        let run = broker.cardbroker(&["transmit", READER, INCREMENT, "00A4040001FF", INCREMENT])?;
        assert_eq!((run.code, &*run.out), (Some(5), "00000001 9000\n6A82\n"));
        assert!(run.err.starts_with("cardbroker: stopped at command 3: "), "{run:?}");
        let run = broker.cardbroker(&["transmit", READER, INCREMENT, "00A4040001FF", INCREMENT, "--json"])?;
        let unit = json_of(&run.out)?;
        let stop = &unit["stopped"];
        assert_eq!(
            (run.code, unit["results"].as_array().map(Vec::len), &stop["index"], &stop["reason"], &stop["delivery"]),
            (Some(5), Some(2), &json!(2), &json!("STATUS_WORD"), &json!("not_sent"))
        );
        let go_on = ["transmit", READER, "00A4040001FF", INCREMENT, "--continue-on", "6A82"];
        assert_eq!(told(&broker.cardbroker(&go_on)?), (Some(0), "6A82\n00000003 9000\n", ""));

        let run = broker.cardbroker(&["transmit", READER, INCREMENT, &fault(6, 0, 0)])?;
        assert_eq!((run.code, &*run.out), (Some(6), "00000004 9000\n"));
        assert!(run.err.contains("the command may have run: check the card's state"), "{run:?}");
        let run = broker.cardbroker(&["transmit", READER, &fault(6, 0, 0), "--json"])?;
        let error = &json_of(&run.err)?["error"];
        assert_eq!((run.code, &error["reason"], &error["delivery"]), (Some(6), &json!("CARD_LOST"), &json!("unknown")));

        let stale = ["transmit", READER, INCREMENT, "--if-insertion", "another"];
        assert_eq!(broker.cardbroker(&stale)?.code, Some(1));
        let busy = stage.keep_busy(1500).await?;
        let run = broker.cardbroker(&["transmit", READER, INCREMENT, "--wait-timeout", "50ms"])?;
        assert_eq!((run.code, run.err.contains("the turn did not come")), (Some(7), true), "{run:?}");
        assert!(!busy.is_finished(), "the card was not busy while the program waited");
        busy.await??;
        assert_eq!(told(&broker.cardbroker(&["transmit", READER, INCREMENT])?), (Some(0), "00000005 9000\n", ""));
        Ok(())
    })
}

#[test]
fn a_missing_and_a_killed_broker_are_reported() -> anyhow::Result<()> {
    tell(async {
        let mut stage = Stage::simulated(Protocol::T1).await?;
        let endpoint = stage.broker.endpoint();
        let dying = in_background(cardbroker(&endpoint, &["transmit", READER, &slow(30_000)])?);
        let dying = tokio::spawn(dying);
        stage.until_busy().await?;
        stage.broker.kill()?;
        let run_of_dying = dying.await??;
        assert_eq!((run_of_dying.code, &*run_of_dying.out), (Some(6), ""), "{run_of_dying:?}");

        let socket = stage.broker.socket();
        let owner = match std::fs::metadata(&socket)?.uid() {
            0 => "root".to_owned(),
            uid => format!("uid {uid}"),
        };
        let refused = format!("connection refused; {} belongs to {owner}", socket.display());
        for (socket, found) in [(endpoint, &*refused), ("unix:/nonexistent/cardbroker.sock".into(), "no such file")] {
            let run = run(&mut cardbroker(&socket, &["readers", "--connect-timeout", "0s"])?)?;
            let line = "start it with \"cardbrokerd\", or give its address with --endpoint";
            assert_eq!(told(&run), (Some(3), "", &*format!("cardbroker: no broker at {socket} ({found}): {line}\n")));
        }
        Ok(())
    })
}

#[test]
fn meanings_of_status_words_are_for_terminals_only() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let piped = broker.cardbroker(&["transmit", READER, "00A4040001FF"])?;
        assert_eq!(told(&piped), (Some(0), "6A82\n", ""));
        let line = format!("{} transmit {READER} 00A4040001FF", program("cardbroker")?.display());
        let mut terminal = Command::new("script");
        // Ends when the program does, with the program as the session of its own terminal.
        terminal.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        let shown =
            run(terminal.env("SHELL", "/bin/sh").env_remove("NO_COLOR").env(ENDPOINT_VARIABLE, broker.endpoint()))?;
        let expected = "> 00 A4 04 00 01 FF  \x1b[1mSELECT FF\x1b[0m\r\n\
                        < \x1b[31m6A82\x1b[0m  file or application not found\r\n";
        assert_eq!((shown.code, &*shown.out), (Some(0), expected), "{shown:?}");
        Ok(())
    })
}

#[test]
fn a_tcp_endpoint_works_too() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let socket = broker.socket();
        tokio::spawn(async move {
            while let Ok((mut outside, _)) = listener.accept().await {
                let mut inside = UnixStream::connect(&socket).await?;
                tokio::spawn(async move { copy_bidirectional(&mut outside, &mut inside).await });
            }
            anyhow::Ok(())
        });
        let by_flag = ["transmit", READER, INCREMENT, "--endpoint", &endpoint];
        let by_flag = in_background(cardbroker("unix:/nonexistent/cardbroker.sock", &by_flag)?).await?;
        let warning = format!(
            "cardbroker: warning: {endpoint} is plain TCP: a program that takes or relays the port reads tokens and \
             PINs\n"
        );
        assert_eq!(told(&by_flag), (Some(0), "00000001 9000\n", &*warning));
        let by_variable = in_background(cardbroker(&endpoint, &["transmit", READER, INCREMENT])?).await?;
        assert_eq!(told(&by_variable), (Some(0), "00000002 9000\n", &*warning));
        Ok(())
    })
}

/// Starts `cardbroker watch`; returns the process and its lines.
fn watch(broker: &Broker, options: &[&str]) -> anyhow::Result<(Child, impl Iterator<Item = String> + use<>)> {
    let mut command = cardbroker(&broker.endpoint(), &[&["watch"], options].concat())?;
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    Ok((process, lines.map_while(Result::ok)))
}

#[test]
fn a_watch_prints_every_change_and_ends_on_time() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        wait_for(&broker, "readers/simulated-reader-01", ReaderState::Ready).await?;
        let (mut process, mut lines) = watch(&broker, &["--json", "--count", "3"])?;
        let mut event = || serde_json::from_str::<Value>(&lines.next().unwrap_or_default());
        let (first, second) = (event()?, event()?);
        assert_eq!((&first["event"], &first["reader"]["state"]), (&json!("updated"), &json!("READY")), "{first}");
        assert_eq!(&second["reader"]["name"], &json!("readers/simulated-reader-01"), "{second}");
        broker.cardbroker(&["transmit", READER, &fault(2, 0, 0xFFFF)])?;
        let third = event()?;
        assert_eq!((&third["reader"]["state"], &third["message"]), (&json!("EMPTY"), &Value::Null), "{third}");
        assert!(third["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{third}");
        assert_eq!((lines.next(), wait(&mut process, LONG)?.code()), (None, Some(0)));

        let run = broker.cardbroker(&["watch", "--for", "1s"])?;
        let rows: Vec<Vec<_>> = run.out.lines().map(|line| line.split("  ").collect()).collect();
        assert_eq!((run.code, rows.len(), &*run.err), (Some(0), 2, ""), "{run:?}");
        assert_eq!(
            (&rows[0][1..], &rows[1][1..3]),
            (&["simulated-reader-00", "EMPTY"][..], &["simulated-reader-01", "READY"][..])
        );

        let (mut process, mut lines) = watch(&broker, &[])?;
        lines.next();
        kill_process(Pid::from_child(&process), Signal::INT)?;
        assert_eq!(wait(&mut process, LONG)?.code(), Some(0), "Ctrl-C ends it well");
        Ok(())
    })
}

#[test]
fn a_closed_pipe_ends_the_program_quietly() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let (mut process, mut lines) = watch(&broker, &[])?;
        lines.next();
        drop(lines);
        broker.cardbroker(&["transmit", READER, &fault(2, 0, 100)])?;
        assert_eq!(wait(&mut process, LONG)?.code(), Some(0));
        assert_eq!(std::io::read_to_string(process.stderr.take().unwrap())?, "");
        for arguments in [&["readers"][..], &["readers", "--json"], &["transmit", "reader-01", INCREMENT]] {
            // A pipe whose reader is gone before the first output.
            let (reader, writer) = std::io::pipe()?;
            drop(reader);
            let mut command = cardbroker(&broker.endpoint(), arguments)?;
            let mut process = command.stdout(writer).stderr(Stdio::piped()).spawn()?;
            assert_eq!(wait(&mut process, LONGEST)?.code(), Some(0), "{arguments:?}");
            assert_eq!(std::io::read_to_string(process.stderr.take().unwrap())?, "", "{arguments:?}");
        }
        Ok(())
    })
}
