//! Helpers for property tests: the same random values in every run, and proofs that planted faults are detected.

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestCaseResult, TestError, TestRng, TestRunner},
};

/// Tests `property` on `cases` random values. Panics with a value that breaks it, shrunk as far as proptest can.
pub fn holds<S: Strategy>(cases: u32, values: S, property: impl Fn(S::Value) -> TestCaseResult) {
    let outcome = run(cases, 2000, &values, property).map_err(|error| error.to_string());
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
    let outcome = run(cases, 0, &values, property);
    let is_found = matches!(&outcome, Err(TestError::Fail(reason, _)) if reason.message().contains(rule));
    assert!(is_found, "{fault:?} does not break `{rule}`: {outcome:?}");
}

fn run<S: Strategy>(
    cases: u32,
    max_shrink_iters: u32,
    values: &S,
    property: impl Fn(S::Value) -> TestCaseResult,
) -> Result<(), TestError<S::Value>> {
    let config = Config { cases, max_shrink_iters, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)).run(values, property)
}
