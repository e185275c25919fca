//! The walk fails when a field is removed from a real client, and fails in that field's cases only.

use std::{collections::BTreeSet, path::Path};

use cardbroker_conformance::{case, contract::Contract};

use crate::runner::{kit, run};

const MUTANT: &str = env!("CARGO_BIN_EXE_mutant");

/// The driver of the Rust client, which `cargo test --workspace` builds.
fn real_driver() -> String {
    let driver = Path::new(MUTANT).with_file_name("examples").join("driver");
    assert!(
        driver.exists(),
        "{} is missing: run\n  cargo build -p cardbroker-client --example driver",
        driver.display()
    );
    driver.display().to_string()
}

/// The cases of the walk whose path contains the field.
fn cases_of(field: &str) -> BTreeSet<String> {
    let cases = case::all(&Contract::load().unwrap(), &kit(), &case::Choice::default()).unwrap();
    let names = cases.iter().map(|case| case.name().to_owned()).filter(|name| name.starts_with("walk/"));
    names.filter(|name| name.split(['/', '.', ' ']).any(|part| part == field)).collect()
}

fn assert_only_its_cases_fail(side: &str, field: &str) {
    let (_, lines) = run(&format!("{MUTANT} {side} {field} {}", real_driver()), "walk/");
    let failed = lines.lines().filter_map(|line| line.strip_prefix("FAILED  ")).map(str::to_owned);
    let (failed, expected): (BTreeSet<_>, _) = (failed.collect(), cases_of(field));
    assert!(!expected.is_empty(), "{field}: no such field");
    assert_eq!(failed, expected, "{side} without {field}\n{lines}");
}

#[test]
fn a_client_that_omits_a_request_field_fails_its_cases() {
    for field in ["allow_last_try", "key_timeout", "idle_timeout", "if_state_tag"] {
        assert_only_its_cases_fail("orders", field);
    }
}

#[test]
fn a_client_that_hides_a_response_field_fails_its_cases() {
    for field in ["get_response_count", "rule", "insertion_count", "queue_duration"] {
        assert_only_its_cases_fail("answers", field);
    }
}
