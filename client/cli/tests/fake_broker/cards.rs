//! Cards in words: `card`, `reset`, `wait`, and hints.

use std::process::Stdio;

use cardbroker_client::CardReset;
use cardbroker_proto::v1::open_session_request::Request;
use serde_json::{Value, json};

use crate::{
    command_line::{cardbroker, code, err, out, run},
    support::{FakeBroker, ready},
};

#[test]
fn a_card_is_explained_without_a_command() {
    let broker = FakeBroker::answering(b"");
    let output = run(&broker, &["card", "desk"]);
    let expected = "\
readers/desk
      Name: Yubico YubiKey 00 00
     State: READY, T=1
      Card: of a kind that its answer to reset does not tell
       ATR: 3B 80

  TS   3B           direct convention
  T0   80           TD1 follow; no historical bytes
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
