//! Completion in a shell: the readers of a running broker, in time and without a message.

use std::{
    os::unix::net::UnixListener,
    process::{Command, Output},
    time::{Duration, Instant},
};

use cardbroker_proto::ENDPOINT_VARIABLE;

use crate::{
    command_line::{code, err, out},
    support::FakeBroker,
};

/// The completions of the last word, asked as bash does.
fn completed(endpoint: &str, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cardbroker"));
    let index = words.len().to_string();
    let asked = [("COMPLETE", "bash"), ("_CLAP_COMPLETE_INDEX", &index), ("_CLAP_COMPLETE_COMP_TYPE", "9")];
    command.env(ENDPOINT_VARIABLE, endpoint).envs(asked).env("_CLAP_COMPLETE_SPACE", "true").env("_CLAP_IFS", "\n");
    command.args(["--", "cardbroker"]).args(words).output().unwrap()
}

#[test]
fn readers_of_the_broker_complete_a_word() {
    let broker = FakeBroker::answering(b"");
    let endpoint = broker.endpoint().to_string();
    for words in [&["transmit", ""][..], &["session", "de"], &["trace", "--reader", "d"]] {
        let output = completed(&endpoint, words);
        assert!(out(&output).lines().any(|line| line == "desk"), "{words:?}: {output:?}");
    }
    let none = completed(&endpoint, &["status", "other"]);
    assert_eq!((out(&none), err(&none)), ("", ""));
    let command = completed(&endpoint, &["trans"]);
    assert_eq!(out(&command), "transmit");
}

#[test]
fn an_endpoint_on_the_line_precedes_that_of_the_environment() {
    let broker = FakeBroker::answering(b"");
    let endpoint = broker.endpoint().to_string();
    let socket = endpoint.strip_prefix("unix:").unwrap();
    // As bash splits them, and as other shells do.
    for words in [
        &["--endpoint", "unix", ":", socket, "transmit", ""][..],
        &["transmit", "--endpoint", "=", "unix", ":", socket, ""],
        &["--endpoint", &endpoint, "session", "de"],
        &["trace", &format!("--endpoint='{endpoint}'"), "--reader", "d"],
        &["trace", "--endpoint", "unix", ":", socket, "--reader", "=", "d"],
    ] {
        let output = completed("unix:/nonexistent/socket", words);
        assert!(out(&output).lines().any(|line| line == "desk"), "{words:?}: {output:?}");
    }
    for words in [&["--endpoint", "malformed", "session", ""][..], &["session", "--endpoint=unix:/nonexistent", ""]] {
        let output = completed(&endpoint, words);
        assert!(!out(&output).contains("desk") && err(&output).is_empty(), "{words:?}: {output:?}");
    }
    let option = completed(&endpoint, &["transmit", "--reset-before", "=", "wa"]);
    assert_eq!(out(&option), "warm", "without the part that bash keeps");
}

#[test]
fn without_an_answer_there_are_no_readers_and_no_message() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    // Accepts connections, and no program answers them.
    let _silent = UnixListener::bind(&path).unwrap();
    for endpoint in [format!("unix:{}", path.display()), "unix:/nonexistent/socket".into(), "malformed".into()] {
        let began = Instant::now();
        let output = completed(&endpoint, &["session", "x"]);
        assert_eq!((code(&output), out(&output), err(&output)), (0, "", ""), "{endpoint}");
        // Much longer than the limit of 200 ms, for a busy machine.
        assert!(began.elapsed() < Duration::from_secs(3), "{endpoint}: {:?}", began.elapsed());
        let typed = completed("unix:/nonexistent", &["--endpoint", &endpoint, "session", "x"]);
        assert_eq!((code(&typed), out(&typed), err(&typed)), (0, "", ""), "{endpoint}");
    }
}
