//! `cardbroker status`, `release`, `reload`, `metrics` and `log` as whole programs.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use cardbroker_client::{
    Delivery, ErrorReason,
    diagnostics::{DriverCall, ReleaseOutcome, Released, ReloadState, duration},
};
use serde_json::{Value, json};

use crate::{
    command_line::{cardbroker, code, err, out},
    support::{FakeBroker, sample, script::refusal},
};

/// Runs the program in the time zone of the sample.
fn run(broker: &FakeBroker, arguments: &[&str]) -> Output {
    cardbroker(broker, arguments).env("TZ", "UTC").output().unwrap()
}

fn refusing(reason: ErrorReason) -> FakeBroker {
    let broker = FakeBroker::answering(b"");
    broker.operations().refusal = Some(refusal(reason, Delivery::NotSent, "what the broker says"));
    broker
}

#[test]
fn a_status_shows_the_broker_and_then_its_readers() {
    let broker = FakeBroker::answering(b"");
    let output = run(&broker, &["status"]);
    let blocks: Vec<_> = out(&output).split("\n\n").map(|block| block.lines().next().unwrap().to_owned()).collect();
    assert!(blocks[0].starts_with("● cardbrokerd 0.1.0 at unix:"), "{blocks:?}");
    assert_eq!((&blocks[1..], code(&output)), (&["● readers/desk".into(), "● readers/pcd-00-00".to_owned()][..], 0));
    assert!(!out(&output).contains('\x1b') && out(&output).lines().all(|line| line.chars().count() <= 80));
}

#[test]
fn a_status_of_one_reader_asks_for_that() {
    let broker = FakeBroker::answering(b"");
    let output = run(&broker, &["status", "yubi", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["broker"], &told["readers"][0]["holder"]["lease"]), (&Value::Null, &json!("e1-8812")));
    assert_eq!(broker.operations().status_requests[0].reader, "readers/desk");
    let output = run(&broker, &["status", "gone"]);
    assert_eq!((out(&output), code(&output)), ("", 4));
    assert!(err(&output).starts_with("cardbroker: no reader matches \"gone\"; there are: "), "{}", err(&output));
}

#[test]
fn a_watched_status_is_one_object_a_line_until_ctrl_c() {
    let broker = FakeBroker::answering(b"");
    let arguments = ["status", "--watch", "--interval", "250ms", "--json"];
    let mut child = cardbroker(&broker, &arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let told: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(told["epoch"], "e1");
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(duration(broker.operations().watch_requests[0].interval).as_millis(), 250);
}

#[test]
fn a_denial_says_which_permission_is_needed() {
    let broker = refusing(ErrorReason::Denied);
    for (arguments, permission) in [
        (&["status"][..], "diagnose"),
        (&["trace"], "trace"),
        (&["trace", "--data"], "trace_data"),
        (&["release", "desk", "--yes"], "diagnose"),
        (&["metrics"], "metrics"),
        (&["log", "debug", "--for", "10m"], "configure"),
        (&["reload"], "configure"),
    ] {
        let output = run(&broker, arguments);
        let expected = format!(
            "cardbroker: what the broker says: this needs the permission {permission}, which a rule must grant by \
             name (without rules only the broker's own user and root have it); ask \"cardbroker policy check\", or try \
             as that user\n"
        );
        assert_eq!((out(&output), err(&output), code(&output)), ("", &*expected, 1), "{arguments:?}");
    }
}

#[test]
fn malformed_arguments_of_operators_are_refused_without_a_broker() {
    let mut broker = FakeBroker::answering(b"");
    broker.stop();
    for arguments in [
        &["status", "--interval", "1s"][..],
        &["status", "--watch", "--interval", "249ms"],
        &["status", "--watch", "--interval", "61m"],
        &["trace", "--last", "257"],
        &["trace", "--kind", "gossip"],
        &["trace", "--force"],
        &["trace", "--reader", "desk", "show", "x"],
        &["release"],
        &["release", "desk", "--reason", "two\nlines", "--yes"],
        &["log", "debug"],
        &["log", "debug", "--for", "999ms"],
        &["log", "", "--for", "10m"],
        &["log", "d\u{e9}bug", "--for", "10m"],
        &["metrics", "desk"],
    ] {
        let output = run(&broker, arguments);
        assert_eq!((out(&output), code(&output)), ("", 2), "{arguments:?}: {}", err(&output));
    }
}

#[test]
fn without_a_terminal_a_release_needs_yes() {
    let broker = FakeBroker::answering(b"");
    let output = run(&broker, &["release", "desk"]);
    let expected = "cardbroker: without a terminal nobody can be asked: give --yes to end the turn all the same\n";
    assert_eq!((err(&output), code(&output)), (expected, 2));
    let output = run(&broker, &["release", "desk", "--json"]);
    assert!(err(&output).contains("with --json nobody is asked: give --yes"), "{}", err(&output));
    assert!(broker.operations().releases.is_empty());
}

#[test]
fn a_release_ends_the_turn_that_was_shown() {
    let broker = FakeBroker::answering(b"");
    let output = run(&broker, &["release", "yubi", "--if-holder", "4711", "--reason", "lunch", "--yes"]);
    let holder = "\
readers/desk is held by process 4711 (says \"scdaemon\") of user 1000 (anna):
  session for 2 min, idle for 10 s, 14 commands, last: verify, refused
";
    assert_eq!((out(&output), err(&output), code(&output)), ("released\n", holder, 0));
    let operations = broker.operations();
    let request = &operations.releases[0];
    assert_eq!((request.reader.as_str(), request.lease.as_str()), ("readers/desk", "e1-8812"));
    assert_eq!(request.reason, "lunch");
}

#[test]
fn a_pending_release_tells_the_age_of_the_drivers_call() {
    let broker = FakeBroker::answering(b"");
    let begin = std::time::SystemTime::now() - std::time::Duration::from_secs(3601);
    let driver_call = Some(DriverCall { begin_time: Some(begin.into()), is_overdue: true });
    broker.operations().release = Released { outcome: ReleaseOutcome::Pending.into(), driver_call };
    let output = run(&broker, &["release", "desk", "--yes"]);
    let expected = "\
pending: the driver is in a call for 60 min; given up until it returns; the turn
ends when the call returns
";
    assert_eq!((out(&output), code(&output)), (expected, 0));
    let told: Value = serde_json::from_slice(&run(&broker, &["release", "desk", "--yes", "--json"]).stdout).unwrap();
    assert_eq!((&told["outcome"], &told["driver_call"]["is_overdue"]), (&json!("PENDING"), &json!(true)));
    assert_eq!((&told["reader"], &told["holder"]["caller"]["process_id"]), (&json!("readers/desk"), &json!(4711)));
}

#[test]
fn nothing_is_released_if_the_turn_is_anothers() {
    let broker = FakeBroker::answering(b"");
    let output = run(&broker, &["release", "desk", "--if-holder", "1", "--yes"]);
    let expected = "cardbroker: process 1 does not have the turn; nothing was released\n";
    assert!(err(&output).ends_with(expected) && code(&output) == 1, "{}", err(&output));

    broker.operations().status.readers[0].holder = None;
    let output = run(&broker, &["release", "desk", "--yes"]);
    assert_eq!((err(&output), code(&output)), ("cardbroker: nobody has the turn at readers/desk\n", 1));
    assert!(broker.operations().releases.is_empty());
}

#[test]
fn a_reload_has_a_line_for_each_part() {
    let broker = FakeBroker::answering(b"");
    let output = run(&broker, &["reload"]);
    assert_eq!((out(&output), code(&output)), ("rules: 2 in force; added night\nsettings: unchanged\n", 0));
    let told: Value = serde_json::from_slice(&run(&broker, &["reload", "--json"]).stdout).unwrap();
    let rules = json!({
        "part": "RULES", "state": "IN_FORCE", "file": "/etc/cardbroker/cardbrokerd.toml", "changed": ["night"],
        "more_changed_count": 0, "message": "rules: 2 in force; added night",
    });
    assert_eq!((&told["parts"][0], &told["parts"][1]["file"]), (&rules, &Value::Null));
    broker.operations().reloaded[1].state = ReloadState::Failed.into();
    let output = run(&broker, &["reload"]);
    assert_eq!((out(&output).lines().count(), err(&output), code(&output)), (2, "", 1), "a part cannot be read");
}

#[test]
fn a_refused_configuration_is_an_error_with_its_mistake() {
    let output = run(&refusing(ErrorReason::ConfigurationRefused), &["reload"]);
    assert_eq!(
        (out(&output), err(&output), code(&output)),
        ("", "cardbroker: what the broker says: the old rules stay in force\n", 1)
    );
}

#[test]
fn metrics_are_printed_as_they_are() {
    let broker = FakeBroker::answering(b"");
    let output = run(&broker, &["metrics"]);
    assert_eq!((out(&output), code(&output)), ("# TYPE units counter\nunits_total 3\n# EOF\n", 0));
    let told: Value = serde_json::from_slice(&run(&broker, &["metrics", "--json"]).stdout).unwrap();
    assert!(told["open_metrics"].as_str().unwrap().ends_with("# EOF\n"));
}

#[test]
fn a_log_filter_says_when_it_ends() {
    let broker = FakeBroker::answering(b"");
    let output = run(&broker, &["log", "info,cardbroker::unit=trace", "--for", "10m"]);
    let expected = "the log filter is info,cardbroker::unit=trace until ";
    assert!(out(&output).starts_with(expected) && out(&output).ends_with("14:14:10, then as configured\n"));
    assert_eq!(duration(broker.operations().filters[0].duration).as_secs(), 600);
    let told: Value =
        serde_json::from_slice(&run(&broker, &["log", "debug", "--for", "10m", "--json"]).stdout).unwrap();
    assert_eq!(told, json!({ "filter": "debug", "revert_time": "2026-11-27T14:14:10.000Z" }));
    assert_eq!(sample::NOW + 600, 1_795_788_850);
}
