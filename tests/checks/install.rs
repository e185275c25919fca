//! `make install` copies programs that are built already: root needs neither cargo nor a network for it.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use super::sources;

const PROGRAMS: [&str; 2] = ["cardbrokerd", "cardbroker"];

/// The path that root has.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Installs from `target` into `destination`. Returns whether it worked, and what was printed.
fn install(target: &Path, destination: &Path) -> (bool, String) {
    let output = Command::new("make")
        .arg("install")
        .current_dir(sources::root())
        .env_clear()
        .env("PATH", PATH)
        .env("CARGO_TARGET_DIR", target)
        .env("DESTDIR", destination)
        .output()
        .unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(printed).unwrap())
}

#[test]
fn install_copies_what_was_built_and_builds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (target, destination) = (folder.path().join("target"), folder.path().join("destination"));
    fs::create_dir_all(target.join("release")).unwrap();
    for program in PROGRAMS {
        fs::write(target.join("release").join(program), program).unwrap();
    }
    let (worked, printed) = install(&target, &destination);
    assert!(worked && !printed.contains("cargo"), "{printed}");
    for program in PROGRAMS {
        let installed = destination.join("usr/local/bin").join(program);
        assert_eq!(fs::read_to_string(&installed).unwrap(), program);
        assert_eq!(fs::metadata(&installed).unwrap().permissions().mode() & 0o7777, 0o755);
    }
}

#[test]
fn install_before_a_build_says_what_to_run_first() {
    let folder = tempfile::tempdir().unwrap();
    let (worked, printed) = install(&folder.path().join("target"), &folder.path().join("destination"));
    let told: Vec<_> = printed.lines().filter(|line| line.contains("make build")).collect();
    assert!(!worked && told.len() == 1, "{printed}");
    assert!(!printed.contains("cargo") && !folder.path().join("destination").exists(), "{printed}");
}
