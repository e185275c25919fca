//! The packaged service: its restrictions, and the version that all packages share.

use std::process::Command;

use super::sources;

const UNIT: &str = "packaging/systemd/cardbrokerd.service";

/// The lines of a unit that set something.
fn settings(unit: &str) -> Vec<String> {
    let text = sources::text(unit);
    text.lines().filter(|line| !line.starts_with('#') && line.contains('=')).map(str::to_owned).collect()
}

#[test]
fn the_service_sees_its_callers_and_their_processes() {
    for setting in settings(UNIT) {
        let (key, _) = setting.split_once('=').unwrap();
        assert!(!["PrivateUsers", "ProtectProc", "ProcSubset", "RuntimeDirectory"].contains(&key), "{setting}");
    }
    let reasons = sources::text(UNIT);
    assert!(reasons.contains("#   PrivateUsers=yes ") && reasons.contains("#   ProtectProc=invisible "));
}

#[test]
fn the_service_has_few_rights() {
    // Ten times the exposure level: 1.0 of 10.
    let judged = exposure(&sources::root().join(UNIT).display().to_string());
    assert!(judged.0, "{}", judged.1);
    let open = tempfile::Builder::new().suffix(".service").tempfile().unwrap();
    let text = sources::text(UNIT).replace("CapabilityBoundingSet=\n", "").replace("PrivateNetwork=yes\n", "");
    std::fs::write(open.path(), text).unwrap();
    assert!(!exposure(&open.path().display().to_string()).0, "a unit with more rights passes");
}

/// Whether the unit's exposure level is at most 1.0, and the table of its rights.
fn exposure(unit: &str) -> (bool, String) {
    let arguments = ["security", "--no-pager", "--offline=yes", "--threshold=10", unit];
    let output = Command::new("systemd-analyze").args(arguments).output().unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

/// The text between `before` and the next `after`.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let rest = text.split_once(before).unwrap_or_else(|| panic!("no {before}")).1;
    rest.split_once(after).unwrap_or_else(|| panic!("no {after}")).0
}

#[test]
fn all_packages_have_the_same_version() {
    let own = env!("CARGO_PKG_VERSION");
    for (path, before, after) in [
        ("client/python/pyproject.toml", "\nversion = \"", "\""),
        ("client/node/package.json", "\"version\": \"", "\""),
        ("client/cpp/CMakeLists.txt", "project(cardbroker VERSION ", " "),
        ("packaging/debian/changelog", "cardbroker (", "-"),
    ] {
        assert_eq!(between(&sources::text(path), before, after), own, "{path}");
    }
}
