//! The program `cardbroker`: its output and its exit codes.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Output, Stdio},
};

use cardbroker_client::{
    CardRequirement, CardReset, Delivery, Disposition, ErrorReason, GROUP_METADATA, GROUP_VARIABLE, StopRule,
};
use cardbroker_proto::{
    ENDPOINT_VARIABLE,
    v1::{Failure, StatusWordPattern, TransmitResponse, UnitStop},
};
use serde_json::{Value, json};

use crate::support::{
    FakeBroker, apdu, ready, result,
    script::{failure, refusal, status},
};

const SELECT: &str = "00 A4 04 0C";

pub(crate) fn cardbroker(broker: &FakeBroker, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cardbroker"));
    command.env(ENDPOINT_VARIABLE, broker.endpoint().to_string()).env_remove(GROUP_VARIABLE);
    command.env("TZ", "UTC").args(arguments);
    command
}

pub(crate) fn run(broker: &FakeBroker, arguments: &[&str]) -> Output {
    cardbroker(broker, arguments).output().unwrap()
}

pub(crate) fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub(crate) fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn refusing(reason: ErrorReason, delivery: Delivery) -> FakeBroker {
    FakeBroker::refusing(move || refusal(reason, delivery, "what the broker says"))
}

fn stopping(delivery: Delivery) -> FakeBroker {
    FakeBroker::start(move |_| {
        let stop = UnitStop { index: 1, failure: Some(failure(ErrorReason::StatusWord, delivery, "why")) };
        let results = vec![result(&[], 0x6A82)];
        Some(Ok(TransmitResponse { results, stopped: Some(stop), ..TransmitResponse::default() }))
    })
}

#[test]
fn readers_are_a_list_or_one_json_array() {
    let broker = FakeBroker::answering(b"");
    let expected = "\
READER     STATE  NAME
desk       READY  Yubico YubiKey 00 00
    T=1  ATR 3B80
pcd-00-00  EMPTY  PCD 00 00
";
    assert_eq!(out(&run(&broker, &["readers"])), expected);
    let readers: Value = serde_json::from_slice(&run(&broker, &["readers", "--json"]).stdout).unwrap();
    assert_eq!(readers[0]["atr"], "3B80");
    assert_eq!(readers[1]["insertion_id"], Value::Null);
}

#[test]
fn the_broker_is_shown_as_rows_or_one_json_object() {
    let broker = FakeBroker::answering(b"");
    let expected = format!(
        "\
Broker            cardbrokerd 0.1.0 at {}
Running since     2023-11-14 22:13:20
Epoch             e1
Capabilities      none
You are           user 1000, process 42, connection 7
Isolation group   number 3
Message           at most 1048576 bytes
Unit              at most 64 commands; at most 10s while other groups wait
Session           at most 32 unanswered messages; at most 30s while other groups wait
Visit             as long as 1.5 resets take
Waiting requests  at most 16 of yours and 256 of all callers at one reader
Kept outcomes     at most 1000 of yours, for 10m
",
        broker.endpoint()
    );
    assert_eq!(out(&run(&broker, &["broker"])), expected);
    let told: Value = serde_json::from_slice(&run(&broker, &["broker", "--json"]).stdout).unwrap();
    assert_eq!((&told["start_time"], &told["caller"]["group"]), (&json!("2023-11-14T22:13:20Z"), &json!(3)));
    assert_eq!(told["limits"]["outcome_lifetime_ms"], 600_000);
}

#[test]
fn without_readers_a_hint_goes_beside_the_output() {
    let broker = FakeBroker::answering(b"");
    broker.set_readers(Vec::new());
    let output = run(&broker, &["readers"]);
    assert_eq!((out(&output), code(&output)), ("", 0));
    assert!(err(&output).starts_with("no readers: "), "{}", err(&output));
}

#[test]
fn a_unit_prints_exactly_one_line_for_each_command() {
    let broker = FakeBroker::answering(&[0xAB, 0x01]);
    let output = run(&broker, &["transmit", "yubikey", SELECT, "00:b0:00:00:02"]);
    assert_eq!((out(&output), err(&output), code(&output)), ("AB01 9000\nAB01 9000\n", "", 0));
    let record = broker.record();
    assert_eq!(record.transmits[0].reader, "readers/desk");
    assert_eq!(apdu(&record.transmits[0].commands[1]).bytes, [0x00, 0xB0, 0x00, 0x00, 0x02]);
}

#[test]
fn a_unit_in_json_is_one_object() {
    let broker = FakeBroker::answering(&[]);
    let unit: Value = serde_json::from_slice(&run(&broker, &["--json", "transmit", "desk", SELECT]).stdout).unwrap();
    assert_eq!(unit["results"][0]["status_word"], "9000");
    assert_eq!(unit["results"][0]["meaning"], "done");
    assert_eq!(
        (&unit["stopped"], &unit["state_tag"], &unit["card_duration_us"]),
        (&Value::Null, &json!("tag"), &json!(0))
    );
}

#[test]
fn every_option_reaches_the_broker() {
    let broker = FakeBroker::answering(b"");
    let options = "--raw --reset-before warm --wait-for-card --wait-timeout 5s --timeout 60s \
                   --if-insertion i --if-state t \
                   --disposition unpower --stop-rule sim --continue-on 6A82 --continue-on 6900/FF00 \
                   --continue-class 83 --continue-instruction A5 --allow-last-try --allow-known-wrong \
                   --request-id 000102030405060708090A0B0C0D0E0F";
    let arguments = ["transmit", "desk", SELECT].into_iter().chain(options.split_whitespace()).collect::<Vec<_>>();
    let output = cardbroker(&broker, &arguments).env(GROUP_VARIABLE, "5f2c").output().unwrap();
    assert_eq!(code(&output), 0, "{}", err(&output));
    let record = broker.record();
    let request = &record.transmits[0];
    let turn = request.turn.as_ref().unwrap();
    assert_eq!((turn.card(), turn.reset_before()), (CardRequirement::Awaited, CardReset::Warm));
    assert_eq!((turn.if_insertion_id.as_str(), turn.if_state_tag.as_str()), ("i", "t"));
    assert_eq!((turn.wait_timeout.unwrap().seconds, request.disposition()), (5, Disposition::Unpower));
    assert_eq!((request.request_id.len(), request.commands[0].stop_rule()), (16, StopRule::Sim));
    let apdu = apdu(&request.commands[0]);
    assert!(apdu.raw && apdu.allow_last_try && apdu.allow_known_wrong);
    assert_eq!((apdu.continue_class, apdu.continue_instruction), (Some(0x83), 0xA5));
    let pattern = |value, mask| StatusWordPattern { value, mask: Some(mask) };
    assert_eq!(request.commands[0].continue_on, [pattern(0x6A82, 0xFFFF), pattern(0x6900, 0xFF00)]);
    assert_eq!(record.metadata[0].get("grpc-timeout").unwrap(), "60000000u");
    assert_eq!(record.metadata[0].get(GROUP_METADATA).unwrap(), "5f2c");
}

#[test]
fn apdus_can_come_from_standard_input() {
    let broker = FakeBroker::answering(b"");
    let mut child =
        cardbroker(&broker, &["transmit", "desk", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"00 A4 04 0C\n00 20 00 80 04 31323334\n").unwrap();
    assert_eq!(out(&child.wait_with_output().unwrap()), "9000\n9000\n");
    assert_eq!(apdu(&broker.record().transmits[0].commands[1]).bytes.len(), 9);
}

#[test]
fn a_stopped_unit_prints_its_results_and_the_delivery() {
    let output = run(&stopping(Delivery::NotSent), &["transmit", "desk", SELECT, SELECT]);
    assert_eq!((out(&output), code(&output)), ("6A82\n", 5));
    assert_eq!(err(&output), "cardbroker: stopped at command 2: why\n");

    let output = run(&stopping(Delivery::Unknown), &["transmit", "desk", SELECT, SELECT, "--json"]);
    let unit: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((unit["stopped"]["delivery"].as_str(), code(&output)), (Some("unknown"), 6));
    assert_eq!((&unit["stopped"]["index"], &unit["stopped"]["reason"]), (&json!(1), &json!("STATUS_WORD")));

    let output = run(&stopping(Delivery::Executed), &["transmit", "desk", SELECT, SELECT]);
    let ran = "the command ran, its answer is lost: check the card's state before you send it again";
    assert_eq!(err(&output), format!("cardbroker: stopped at command 2: why; {ran}\n"));
    assert_eq!(code(&output), 6);
}

#[test]
fn the_exit_code_follows_from_the_delivery() {
    for (reason, delivery, expected) in [
        (ErrorReason::Denied, Delivery::NotSent, 1),
        (ErrorReason::InvalidRequest, Delivery::NotSent, 2),
        (ErrorReason::NoCard, Delivery::NotSent, 4),
        (ErrorReason::CardRemoved, Delivery::NotSent, 4),
        (ErrorReason::CardRemoved, Delivery::Unknown, 6),
        (ErrorReason::RequestIdReused, Delivery::Executed, 6),
        (ErrorReason::QueueTimeout, Delivery::NotSent, 7),
    ] {
        let output = run(&refusing(reason, delivery), &["transmit", "desk", SELECT]);
        assert_eq!((out(&output), code(&output)), ("", expected), "{reason:?}");
        assert!(err(&output).starts_with("cardbroker: what the broker says"), "{}", err(&output));
        assert_eq!(err(&output).lines().count(), 1);
    }
}

#[test]
fn an_error_in_json_has_all_fields_of_the_failure() {
    let broker = refusing(ErrorReason::NoCard, Delivery::NotSent);
    let output = run(&broker, &["transmit", "desk", SELECT, "--json"]);
    let expected = json!({ "error": {
        "reason": "NO_CARD", "delivery": "not_sent", "code": 9, "message": "what the broker says",
        "retry_after_ms": null, "rule": null, "cause": null, "field_violations": [], "reader": null, "tries_left": null,
    }});
    assert_eq!(serde_json::from_slice::<Value>(&output.stderr).unwrap(), expected);
}

#[test]
fn a_withheld_pin_has_its_number_of_tries() {
    const WRONG: ErrorReason = ErrorReason::PinKnownWrong;
    for (reason, tries_left, ending) in [
        (WRONG, Some(2), " (2 tries left)\n"),
        (WRONG, Some(1), " (1 try left)\n"),
        (WRONG, None, "says\n"),
        (ErrorReason::PinLastTry, Some(1), "says\n"),
    ] {
        let told = Failure { tries_left, ..failure(reason, Delivery::NotSent, "what the broker says") };
        let broker = FakeBroker::refusing(move || status(told.clone()));
        let output = run(&broker, &["transmit", "desk", SELECT]);
        assert!(err(&output).ends_with(ending) && code(&output) == 1, "{output:?}");
        let output = run(&broker, &["transmit", "desk", SELECT, "--json"]);
        let told = serde_json::from_slice::<Value>(&output.stderr).unwrap();
        assert_eq!(told["error"]["tries_left"], json!(tries_left), "{told}");
    }
}

#[test]
fn raw_bytes_need_not_be_an_apdu() {
    let broker = FakeBroker::answering(b"");
    assert_eq!(code(&run(&broker, &["transmit", "desk", "FF", "--raw"])), 0);
    assert_eq!(apdu(&broker.record().transmits[0].commands[0]).bytes, [0xFF]);
}

#[test]
fn without_a_broker_one_line_says_how_to_start_one() {
    let mut broker = FakeBroker::answering(b"");
    broker.stop();
    let output = run(&broker, &["readers", "--connect-timeout", "0s"]);
    let advice = "start it with \"cardbrokerd\", or give its address with --endpoint";
    assert_eq!(err(&output), format!("cardbroker: no broker at {} (no such file): {advice}\n", broker.endpoint()));
    assert_eq!(code(&output), 3);
}

#[test]
fn malformed_input_is_reported_without_broker_or_text() {
    let mut broker = FakeBroker::answering(b"");
    broker.stop();
    let output = run(&broker, &["transmit", "desk", SELECT, "00200080 0431323z"]);
    assert_eq!(err(&output), "cardbroker: APDU 2: not a hexadecimal digit at position 17\n");
    assert_eq!(code(&output), 2);
    assert_eq!(code(&run(&broker, &["transmit", "desk", "00A4"])), 2);
    assert_eq!(code(&run(&broker, &["transmit", "desk"])), 2);
    assert_eq!(code(&run(&broker, &["readers", "--endpoint", "http://example.org:1"])), 2);
}

#[test]
fn an_unknown_reader_lists_the_known_ones() {
    let output = run(&FakeBroker::answering(b""), &["transmit", "acs", SELECT]);
    assert!(err(&output).contains("readers/desk (Yubico YubiKey 00 00), readers/pcd-00-00 (PCD 00 00)"));
    assert_eq!(code(&output), 4);
}

#[test]
fn a_watch_prints_changes_and_ends_after_the_given_count() {
    let output = run(&FakeBroker::answering(b""), &["watch", "--count", "2"]);
    let lines: Vec<_> = out(&output).lines().collect();
    assert!(lines[0].ends_with("  desk  READY  ATR 3B80"), "{lines:?}");
    assert!(lines[1].ends_with("  pcd-00-00  EMPTY"), "{lines:?}");
    assert_eq!((lines.len(), code(&output)), (2, 0));
    assert_eq!(code(&run(&FakeBroker::answering(b""), &["watch", "--for", "10ms"])), 0);
}

#[test]
fn ctrl_c_ends_a_watch_successfully() {
    let broker = FakeBroker::answering(b"");
    let mut child = cardbroker(&broker, &["watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_watch_reports_the_loss_and_return_of_the_broker() {
    let mut broker = FakeBroker::answering(b"");
    let mut child = cardbroker(&broker, &["watch", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut events = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()["event"].clone());
    assert_eq!(events.by_ref().take(2).collect::<Vec<_>>(), ["updated", "updated"]);
    broker.restart();
    assert_eq!(events.by_ref().take(2).collect::<Vec<_>>(), ["disconnected", "connected"]);
    drop(events);
    // Retries: a child that another test forks just now may hold the pipe open for a moment.
    for insertion in 2..2000 {
        broker.set_readers(vec![ready("desk", &insertion.to_string())]);
        if let Some(status) = child.try_wait().unwrap() {
            assert_eq!(status.code(), Some(0), "a closed pipe ends the watch quietly");
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("the watch did not end");
}
