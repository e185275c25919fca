//! How properties are checked: on many random values, the same ones in every run, and seen to fail where a fault was planted.

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestCaseResult, TestError, TestRng, TestRunner},
};

/// Tries `property` on so many values. If one of them breaks it, panics with the smallest such value that can be found soon.
pub fn holds<S: Strategy>(cases: u32, values: S, property: impl Fn(S::Value) -> TestCaseResult) {
    if let Err(error) = run(cases, 2000, &values, property) {
        panic!("{error}");
    }
}

/// Tries `property`, which a planted `fault` must break, on so many values. Panics unless one of them breaks the `rule`.
pub fn is_broken<S: Strategy>(
    cases: u32,
    values: S,
    property: impl Fn(S::Value) -> TestCaseResult,
    fault: impl std::fmt::Debug,
    rule: &str,
) {
    match run(cases, 0, &values, property) {
        Err(TestError::Fail(reason, _)) => assert!(reason.message().contains(rule), "{fault:?}: {reason}"),
        other => panic!("{fault:?} breaks nothing: {other:?}"),
    }
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
