//! Cards and commands in words: `card`, `reset`, `wait`, scripts, expected status words, and hints.

use std::{
    io::Write,
    process::{Output, Stdio},
};

use cardbroker_client::{CardReset, Delivery, Disposition, ErrorReason, hex};
use cardbroker_proto::v1::{StatusWordPattern, TransmitResponse, UnitStop, open_session_request::Request};
use serde_json::{Value, json};

use crate::{
    command_line::{cardbroker, code, err, out, run},
    support::{
        FakeBroker, apdu, ready, result,
        script::{failure, refusal},
    },
};

fn with_input(broker: &FakeBroker, arguments: &[&str], input: &str) -> Output {
    let mut command = cardbroker(broker, arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that has ended reads no more.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// A broker that answers each command with these status words, and stops where a unit must not go on.
fn saying(words: &'static [i32]) -> FakeBroker {
    FakeBroker::start(move |request| {
        let mut results = Vec::new();
        let mut stopped = None;
        for (index, (command, word)) in request.commands.iter().zip(words).enumerate() {
            results.push(result(&[], *word));
            let goes_on = command.continue_on.iter().any(|pattern| pattern.value == *word);
            if !goes_on && index + 1 < request.commands.len() && !command.continue_on.is_empty() {
                let failure = failure(ErrorReason::StatusWord, Delivery::NotSent, "why");
                let index = i32::try_from(index + 1).unwrap();
                stopped = Some(UnitStop { index, failure: Some(failure) });
                break;
            }
        }
        Some(Ok(TransmitResponse { results, stopped, ..TransmitResponse::default() }))
    })
}

#[test]
fn a_card_is_explained_without_a_command() {
    let broker = FakeBroker::answering(b"");
    let output = run(&broker, &["card", "desk"]);
    let expected = "\
readers/desk
      Name: Yubico YubiKey 00 00
     State: READY, T=1
      Card: unknown (not recognizable from the ATR)
       ATR: 3B 80

  TS   3B           direct convention
  T0   80           TD1 follows; no historical bytes
                    the answer ends before its announced end
";
    assert_eq!((out(&output), err(&output), code(&output)), (expected, "", 0));
    let card: Value = serde_json::from_slice(&run(&broker, &["card", "desk", "--json"]).stdout).unwrap();
    assert_eq!((&card["reader"]["name"], &card["kind"]), (&json!("readers/desk"), &Value::Null));
    assert_eq!((&card["atr"]["check"], &card["atr"]["parts"][0]["name"]), (&json!("absent"), &json!("TS")));
    let record = broker.record();
    assert_eq!((record.transmits.len(), record.session_requests.len()), (0, 0), "nothing is sent to the card");
    drop(record);
    let output = run(&broker, &["card", "pcd"]);
    assert_eq!((err(&output), code(&output)), ("cardbroker: no card has answered in readers/pcd-00-00 (empty)\n", 4));
}

/// The control information of PIV's SELECT, shortened.
const PIV: &[u8] = &[0x61, 0x07, 0x4F, 0x05, 0xA0, 0x00, 0x00, 0x03, 0x08];

/// A broker with a card that has PIV and nothing else; its policy denies a unit with a command that `denied` names.
fn with_piv(denied: fn(&[u8]) -> bool) -> FakeBroker {
    FakeBroker::start(move |request| {
        let commands: Vec<_> = request.commands.iter().map(|command| apdu(command).bytes.clone()).collect();
        if commands.iter().any(|command| denied(command)) {
            return Some(Err(refusal(ErrorReason::Denied, Delivery::NotSent, "denied by rule \"r\"")));
        }
        let answer = |command: &Vec<u8>| match command[..] {
            [0x00, 0x20, 0x00, 0x80] => result(&[], 0x63C2),
            [_, 0xA4, _, _, _, 0xA0, 0x00, 0x00, 0x03, 0x08, ..] => result(PIV, 0x9000),
            _ => result(&[], 0x6A82),
        };
        Some(Ok(TransmitResponse { results: commands.iter().map(answer).collect(), ..TransmitResponse::default() }))
    })
}

#[test]
fn a_probe_is_a_unit_between_two_resets() {
    let broker = with_piv(|_| false);
    let output = run(&broker, &["card", "desk", "--probe"]);
    let found = "
Applications
  PIV  PIN: 2 tries left
  not found: OpenPGP, OATH (Yubico), FIDO, EMV payment (directory),
";
    assert!(out(&output).contains(found) && code(&output) == 0, "{}{}", out(&output), err(&output));
    let record = broker.record();
    assert_eq!(record.transmits.len(), 2, "the second one asks PIV for its tries");
    for unit in &record.transmits {
        let turn = unit.turn.clone().unwrap();
        assert!(turn.if_not_raised && !turn.if_insertion_id.is_empty());
        assert_eq!((turn.reset_before(), unit.disposition()), (CardReset::Warm, Disposition::Reset));
    }
    let sent = |unit: usize| record.transmits[unit].commands.iter().map(|command| apdu(command).bytes.clone());
    assert!(sent(0).all(|bytes| bytes[..4] == [0x00, 0xA4, 0x04, 0x00]));
    assert_eq!(sent(1).nth(1).unwrap(), [0x00, 0x20, 0x00, 0x80]);
}

#[test]
fn a_probe_leaves_out_what_the_policy_denies() {
    let broker = with_piv(|command| command.ends_with(&[0x06, 0x47, 0x2F, 0x00, 0x01, 0x00]) || command[1] == 0x20);
    let output = run(&broker, &["card", "desk", "--probe", "--json"]);
    let card: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |name: &str| {
        card["applications"].as_array().unwrap().iter().find(|application| application["name"] == name).unwrap()
    };
    assert_eq!((&of("piv")["is_found"], &of("piv")["pin_tries_left"]), (&json!(true), &Value::Null));
    assert_eq!((&of("fido")["is_denied"], &of("fido")["status_word"]), (&json!(true), &Value::Null));
    assert_eq!((&of("oath")["is_denied"], &of("oath")["status_word"]), (&json!(false), &json!("6A82")));
    let output = run(&with_piv(|_| true), &["card", "desk", "--probe"]);
    assert!(code(&output) == 1 && err(&output).contains("denied by rule"), "{}", err(&output));
}

#[test]
fn a_contactless_card_is_asked_on_request_and_a_storage_card_never() {
    let broker = with_piv(|_| false);
    let with_atr = |atr: &[u8]| {
        let mut reader = ready("desk", "first");
        reader.atr = atr.to_vec();
        broker.set_readers(vec![reader]);
    };
    with_atr(&[0x3B, 0x80, 0x80, 0x01, 0x01]);
    let output = run(&broker, &["card", "desk", "--probe"]);
    assert!(code(&output) == 2 && err(&output).contains("add --contactless"), "{}", err(&output));
    assert!(broker.record().transmits.is_empty());
    let output = run(&broker, &["card", "desk", "--probe", "--contactless"]);
    assert!(out(&output).contains("EMV payment (contactless directory)"), "{}{}", out(&output), err(&output));
    let sent = broker.record().transmits.len();
    with_atr(&hex::parse("3B8F8001804F0CA000000306030001000000006A").unwrap());
    let output = run(&broker, &["card", "desk", "--probe", "--contactless"]);
    assert!(out(&output).ends_with("  none: a storage card has no applications\n"), "{}", out(&output));
    assert_eq!(broker.record().transmits.len(), sent);
}

#[test]
fn an_application_is_selected_by_its_name() {
    let broker = FakeBroker::answering(b"");
    assert_eq!(out(&run(&broker, &["transmit", "desk", "select piv", "0x00 0xCA 0x00 0x6E # data"])), "9000\n9000\n");
    let record = broker.record();
    let piv = [0x00, 0xA4, 0x04, 0x00, 9, 0xA0, 0x00, 0x00, 0x03, 0x08, 0x00, 0x00, 0x10, 0x00, 0x00];
    assert_eq!(apdu(&record.transmits[0].commands[0]).bytes, piv);
    assert_eq!(apdu(&record.transmits[0].commands[1]).bytes, [0x00, 0xCA, 0x00, 0x6E]);
}

#[test]
fn words_are_shown_on_request() {
    let broker = FakeBroker::answering(b"A record of text");
    let output = run(&broker, &["transmit", "desk", "--show", "words", "00B2010410", "0020008004 31323334"]);
    let answer =
        "< 9000  done, 16 bytes\n  0000  41 20 72 65 63 6F 72 64  20 6F 66 20 74 65 78 74  |A record of text|\n";
    let expected = format!("> 00 B2 01 04 10  READ RECORD 1\n{answer}> 00 20 00 80 […]  VERIFY reference 80\n{answer}");
    assert_eq!(out(&output), expected);
}

#[test]
fn an_unexpected_status_word_is_code_9() {
    let broker = saying(&[0x9000, 0x6A82, 0x9000]);
    let output = run(&broker, &["transmit", "desk", "00A4040C", "00B00000", "00B00001", "--expect", "9000"]);
    let message = "cardbroker: command 2 was answered 6A82 (file or application not found); expected 9000\n";
    assert_eq!((out(&output), err(&output), code(&output)), ("9000\n6A82\n", message, 9));
    let pattern = StatusWordPattern { value: 0x9000, mask: Some(0xFFFF) };
    assert!(broker.record().transmits[0].commands.iter().all(|command| command.continue_on == [pattern]));

    let of_one = |last: &str| run(&saying(&[0x9000, 0x6A82]), &["transmit", "desk", "00A4040C", last]);
    assert_eq!(code(&of_one("00B00000")), 0, "a status word is data");
    assert_eq!(code(&of_one("00B00000 =6A82")), 0);
    assert_eq!(code(&of_one("00B00000 =9000")), 9);
    let output = run(&saying(&[0x6A82]), &["transmit", "desk", "00A4040C", "--expect", "9000", "--json"]);
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!((&error["error"]["delivery"], code(&output)), (&json!("executed"), 9));
}

#[test]
fn units_and_sessions_read_the_same_script() {
    let script = "# choose\nreset\necho first\n0x00A4040C =9000 # select\n\n00:CA:00:6E\necho last\n";
    let broker = FakeBroker::answering(b"");
    let unit = with_input(&broker, &["transmit", "desk", "-"], script);
    assert_eq!((out(&unit), err(&unit), code(&unit)), ("first\n9000\n9000\nlast\n", "", 0));
    let turn = broker.record().transmits[0].turn.clone().unwrap();
    assert_eq!(turn.reset_before(), CardReset::Warm);
    let session = with_input(&FakeBroker::answering(b""), &["session", "desk"], script);
    assert_eq!((out(&session), err(&session), code(&session)), ("first\n00A4 9000\n00CA 9000\nlast\n", "", 0));
}

#[test]
fn a_script_ends_at_an_unexpected_status_word() {
    let broker = FakeBroker::answering(b"");
    let output = with_input(&broker, &["session", "desk"], "00A4040C =6A82\n00B00000\n");
    let message = "cardbroker: command 1 was answered 9000 (done); expected 6A82\n";
    assert_eq!((out(&output), err(&output), code(&output)), ("00A4 9000\n", message, 9));
    let output = with_input(&broker, &["session", "desk"], "pin 80\n");
    let message = "cardbroker: line 1: pin works only at a prompt: in a script send VERIFY as an APDU\n";
    assert_eq!((err(&output), code(&output)), (message, 2));
}

#[test]
fn a_card_is_reset_by_a_command_of_its_own() {
    let broker = FakeBroker::answering(b"");
    let output = run(&broker, &["reset", "desk", "--cold"]);
    assert_eq!((out(&output), err(&output), code(&output)), ("readers/desk was reset, ATR 3B81\n", "", 0));
    let record = broker.record();
    let Some(Request::Reset(reset)) = &record.session_requests[1].request else { panic!("no reset") };
    assert_eq!((reset.reset(), &record.half_closed[..]), (CardReset::Cold, &[true][..]));
}

#[test]
fn a_card_is_waited_for() {
    let broker = FakeBroker::answering(b"");
    assert_eq!(out(&run(&broker, &["wait"])), "desk\n");
    let output = run(&broker, &["wait", "pcd", "--for", "50ms"]);
    assert_eq!((err(&output), code(&output)), ("cardbroker: no usable card came to \"pcd\" within 50ms\n", 4));
    assert_eq!(out(&run(&broker, &["wait", "pcd", "--removed"])), "pcd-00-00\n");
    let child = cardbroker(&broker, &["wait", "later"]).stdout(Stdio::piped()).spawn().unwrap();
    broker.set_readers(vec![ready("later", "first")]);
    assert_eq!(out(&child.wait_with_output().unwrap()), "later\n");
}

#[test]
fn a_watch_follows_one_reader() {
    let output = run(&FakeBroker::answering(b""), &["watch", "pcd", "--count", "1"]);
    assert!(out(&output).ends_with("  pcd-00-00  EMPTY\n"), "{}", out(&output));
    let output = run(&FakeBroker::answering(b""), &["watch", "acs"]);
    assert_eq!(code(&output), 4);
}

#[test]
fn a_word_of_another_program_is_answered_with_a_hint() {
    let output = run(&FakeBroker::answering(b""), &["list"]);
    assert!(err(&output).contains("type: cardbroker readers"), "{}", err(&output));
    assert_eq!(code(&output), 2);
}
