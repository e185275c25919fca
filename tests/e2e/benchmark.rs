//! The benchmark: a case that fails does not end the run, and nothing outlives it.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use cardbroker_tests::harness::{LONGEST, run::run};
use serde_json::Value;

fn bench(arguments: &[&str], out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.arg("--quick").args(arguments).arg("--out").arg(out);
    command
}

#[test]
fn a_case_that_fails_does_not_end_the_run() {
    let out = tempfile::tempdir().unwrap();
    let mut bench = bench(&["--only", "groups", "--only", "queue", "--before", "/missing/cardbrokerd"], out.path());
    let run = run(&mut bench).unwrap();
    assert_eq!(run.code, Some(1), "{}", run.err);
    let results: Value = serde_json::from_str(&fs::read_to_string(out.path().join("results.json")).unwrap()).unwrap();
    let cases = results["cases"].as_array().unwrap();
    assert_eq!((&cases[0]["case"], &cases[1]["case"]), (&"groups".into(), &"queue".into()), "{results:#}");
    assert!(cases[0]["error"].is_string() && cases[0]["tables"].as_array().is_some_and(Vec::is_empty), "{results:#}");
    assert!(cases[1]["error"].is_null() && cases[1]["tables"][0]["rows"].is_array(), "{results:#}");
    assert!(run.out.contains("**The case `groups` has failed:**"), "{}", run.out);
}

#[test]
fn its_processes_end_with_it() {
    let folder = tempfile::tempdir().unwrap();
    // The daemon's socket is below it, so its command line names it.
    let own = folder.path().to_str().unwrap();
    let mut bench = bench(&["--only", "operators"], &folder.path().join("out"));
    let mut process = bench.env("TMPDIR", own).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("its daemon runs", || running(own).iter().any(|line| line.contains("cardbrokerd")));
    process.kill().unwrap();
    process.wait().unwrap();
    until("its processes have ended", || running(own).is_empty());
}

/// The command lines of the processes whose command line has `part` in it, and which are not zombies.
fn running(part: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = processes.filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(part)).collect()
}

fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + LONGEST;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within {LONGEST:?}");
        thread::sleep(Duration::from_millis(20));
    }
}
