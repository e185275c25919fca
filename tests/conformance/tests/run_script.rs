//! The script `run`: unknown clients and runs without a client are failures, and the output names skipped clients.

use std::{env, fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

/// Runs the script in a tree of its own with fake commands: the client `here` passes the kit, and the toolchain of
/// `gone` is missing. Returns whether it passed, and its output.
fn run(names: &[&str]) -> (bool, String) {
    let tree = tempfile::tempdir().unwrap();
    let place = |path: &str, text: &str| {
        let path = tree.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let script = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("run")).unwrap();
    place("tests/conformance/run", &script);
    place("tests/conformance/drivers", "# drivers\nhere true\ngone true\n");
    place("client/gone/build.sh", "#!/bin/sh\nexit 77\n");
    place("bin/cargo", "#!/bin/sh\n");
    place("target/debug/conformance", "#!/bin/sh\necho '1 passed, 0 failed'\n");
    let path = format!("{}:{}", tree.path().join("bin").display(), env::var("PATH").unwrap());
    let mut script = Command::new(tree.path().join("tests/conformance/run"));
    let output = script.args(names).env("PATH", path).env_remove("CARGO_TARGET_DIR").output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn a_skipped_client_is_named() {
    let (passed, said) = run(&[]);
    assert!(passed && said.ends_with("the kit passed with 1 of 2 clients, skipped: gone\n"), "{said}");
    let (passed, said) = run(&["here"]);
    assert!(passed && said.ends_with("the kit passed with 1 of 1 clients\n"), "{said}");
}

#[test]
fn a_misspelt_name_is_a_failure() {
    let (passed, said) = run(&["here", "hree"]);
    assert!(!passed && said.ends_with("no client is called hree; there are: here gone\n"), "{said}");
}

#[test]
fn a_run_without_a_client_is_a_failure() {
    let (passed, said) = run(&["gone"]);
    assert!(!passed && said.ends_with("the kit passed with 0 of 1 clients, skipped: gone\n"), "{said}");
}
