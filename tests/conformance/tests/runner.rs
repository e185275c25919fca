//! The runner itself: it passes a complete driver, and fails one that leaves a field out, hangs or dies.

use std::{env, fs, path::PathBuf};

use cardbroker_conformance::{
    case::{self, Choice, Count},
    codes,
    contract::Contract,
};

const FAKE_DRIVER: &str = env!("CARGO_BIN_EXE_fake-driver");

/// Scenarios that a driver without a client can pass.
const PLAIN: [&str; 4] = ["calls/transmit", "stopped/", "failures/bare", "sessions/answers in order"];

pub(crate) fn kit() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../proto/conformance")
}

/// Runs the cases whose name contains a text. Returns the count and the lines.
pub(crate) fn run(driver: &str, only: &str) -> (Count, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let contract = Contract::load().unwrap();
    let choice = Choice { only: Some(only.to_owned()), ..Choice::default() };
    let cases = case::all(&contract, &kit(), &choice).unwrap();
    let mut out = Vec::new();
    let count = runtime.block_on(case::run(&contract, driver, &cases, 4, &mut out)).unwrap();
    (count, String::from_utf8(out).unwrap())
}

#[test]
fn a_driver_that_knows_all_fields_passes_the_walk() {
    let (count, lines) = run(FAKE_DRIVER, "walk/");
    assert!(count.failed == 0 && count.passed > 300, "{count:?}\n{lines}");
}

#[test]
fn a_driver_that_follows_a_scenario_passes_it() {
    for only in PLAIN {
        let (count, lines) = run(FAKE_DRIVER, only);
        assert!(count.failed == 0 && count.passed > 0, "{count:?}\n{lines}");
    }
}

#[test]
fn a_field_that_is_left_out_fails_its_cases() {
    for (talk, field) in [
        ("transmit/request", "allow_last_try"),
        ("transmit/request", "continue_class"),
        ("transmit/request", "mask"),
        ("transmit/request", "reset_before"),
        ("transmit/request", "key_timeout"),
        ("open/request", "idle_timeout"),
        ("session_transmit/request", "continue_instruction"),
        ("transmit/response", "get_response_count"),
        ("transmit/response", "was_reset"),
        ("transmit/status", "retry_after"),
        ("transmit/status", "tries_left"),
        ("open/status", "rule"),
        ("session_transmit/failed", "field_violations"),
        ("watch/change", "insertion_count"),
        ("watch_turn/response", "begin_time"),
        ("get_broker/response", "process_id"),
    ] {
        let driver = format!("{FAKE_DRIVER} --leave-out {field}");
        let (count, lines) = run(&driver, &format!("walk/{talk}/"));
        assert!(count.failed > 0 && count.passed > 0, "{talk} {field}: {count:?}\n{lines}");
        // Each report names the missing field, and no other case fails.
        for failed in lines.split("FAILED  ").skip(1) {
            assert!(failed.contains(&format!(".{field}: ")), "{talk} {field}: {failed}");
        }
    }
}

#[test]
fn a_driver_that_ends_fails_with_its_last_lines() {
    let (count, lines) = run("sh -c 'echo no such module >&2'", "calls/get_broker");
    assert_eq!(count, Count { passed: 0, failed: 1 });
    assert!(lines.contains("no such module"), "{lines}");
}

#[test]
fn a_driver_that_ends_fails_every_later_order() {
    // It reads both orders, and the runner waits for two answers.
    let (count, lines) = run("sh -c 'read one; read two; echo gone >&2'", "connecting/no broker");
    assert!(count.passed == 0 && count.failed == 2, "{count:?}\n{lines}");
    assert!(lines.contains("driver: gone"), "{lines}");
}

#[test]
fn a_driver_that_hangs_fails_in_time() {
    let (count, lines) = run("sleep 60", "calls/get_broker");
    assert_eq!(count, Count { passed: 0, failed: 1 });
    assert!(lines.contains("printed nothing within 10.0 s"), "{lines}");
}

#[test]
fn a_field_that_is_invented_fails_the_cases_of_failures() {
    // A client that reports a reader and a retry time without any.
    let invent = r#"sed -u s/\"delivery\":/\"reader\":\"readers\\\/x\",\"retry_after\":\"1s\",\"delivery\":/"#;
    let driver = format!("sh -c '{FAKE_DRIVER} | {invent}'");
    for only in ["codes/NO_CARD", "walk/transmit/status/rule"] {
        let (count, lines) = run(&driver, only);
        assert!(count.passed == 0 && count.failed > 0, "{only}: {count:?}\n{lines}");
        assert!(lines.contains(".reader: null expected") && lines.contains(".retry_after: null expected"), "{lines}");
        let (count, lines) = run(FAKE_DRIVER, only);
        assert!(count.failed == 0 && count.passed > 0, "{only}: {count:?}\n{lines}");
    }
}

#[test]
fn every_reason_and_delivery_has_a_case() {
    let (count, lines) = run(FAKE_DRIVER, "codes/");
    assert_eq!(count, Count { passed: codes::table().as_array().unwrap().len(), failed: 0 }, "{lines}");
}

#[test]
fn a_kit_without_one_of_its_tables_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("scenarios")).unwrap();
    for table in ["endpoints", "places", "readers", "codes", "invalid"] {
        let name = format!("{table}.json");
        fs::copy(kit().join(&name), folder.path().join(&name)).unwrap();
    }
    let error = case::all(&Contract::load().unwrap(), folder.path(), &Choice::default()).unwrap_err();
    assert!(format!("{error:#}").contains("status_words.json"), "{error:#}");
}

#[test]
fn codes_json_equals_the_table_in_the_sources() {
    let rows = codes::table();
    let rows: Vec<_> = rows.as_array().unwrap().iter().map(|row| format!("  {row}")).collect();
    let table = format!("[\n{}\n]\n", rows.join(",\n"));
    let file = kit().join("codes.json");
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, &table).unwrap();
    }
    assert!(
        fs::read_to_string(&file).unwrap_or_default() == table,
        "proto/conformance/codes.json is not the table of proto/codes.rs: run\n  \
         UPDATE_GOLDEN=1 cargo test -p cardbroker-conformance\nand commit the file"
    );
}
