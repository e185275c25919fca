//! Helpers for property tests: the same random values in every run, and proofs that planted faults are detected.
//! `PROPERTY_SEED=N` in the environment of the build gives other values, and `PROPERTY_TIMES=N` N times as many.

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestCaseResult, TestError, TestRng, TestRunner},
};

/// Tests `property` on `cases` random values. Panics with a value that breaks it, shrunk as far as proptest can.
pub fn holds<S: Strategy>(cases: u32, values: S, property: impl Fn(S::Value) -> TestCaseResult) {
    let times = number(option_env!("PROPERTY_TIMES")).unwrap_or(1);
    let rng = number(option_env!("PROPERTY_SEED")).map_or_else(usual_values, other_values);
    let outcome = run(cases.saturating_mul(times), 2000, rng, &values, property).map_err(|error| error.to_string());
    assert_eq!(outcome, Ok(()));
}

/// Tests `property`, which a planted `fault` must break, on `cases` random values. Panics unless one of them breaks
/// `rule`.
pub fn is_broken<S: Strategy>(
    cases: u32,
    values: S,
    property: impl Fn(S::Value) -> TestCaseResult,
    fault: impl std::fmt::Debug,
    rule: &str,
) {
    let outcome = run(cases, 0, usual_values(), &values, property);
    let is_found = matches!(&outcome, Err(TestError::Fail(reason, _)) if reason.message().contains(rule));
    assert!(is_found, "{fault:?} does not break `{rule}`: {outcome:?}");
}

fn run<S: Strategy>(
    cases: u32,
    max_shrink_iters: u32,
    rng: TestRng,
    values: &S,
    property: impl Fn(S::Value) -> TestCaseResult,
) -> Result<(), TestError<S::Value>> {
    let config = Config { cases, max_shrink_iters, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, rng).run(values, property)
}

fn number(text: Option<&str>) -> Option<u32> {
    text?.parse().ok()
}

fn usual_values() -> TestRng {
    TestRng::deterministic_rng(RngAlgorithm::ChaCha)
}

fn other_values(seed: u32) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}
