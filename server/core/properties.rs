//! How properties are checked: on many random values, the same ones in every run, and seen to fail where a fault was planted.

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestCaseResult, TestError, TestRng, TestRunner},
};

/// Tries `property` on so many values. If one of them breaks it, panics with the smallest such value that can be found soon.
pub fn holds<S: Strategy>(cases: u32, values: S, property: impl Fn(S::Value) -> TestCaseResult) {
    let outcome = run(cases, 2000, &values, property).map_err(|error| error.to_string());
    assert_eq!(outcome, Ok(()));
}

/// Tries `property`, which a planted `fault` must break, on so many values. Panics unless one of them breaks the `rule`.
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
