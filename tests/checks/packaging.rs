//! The packages: the restrictions of the service, the C library of the programs, and the version of all packages.

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
        assert!(!["PrivateUsers", "ProtectProc", "ProcSubset"].contains(&key), "{setting}");
        assert_ne!(setting, "RuntimeDirectory=cardbroker", "the folder of the sockets outlives the service");
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

/// The drop-in of the socket that the documents show, for a TCP port.
fn documented_drop_in() -> String {
    let text = sources::text("docs/operating.md");
    format!("[Socket]\n{}", between(&text, "```text\n[Socket]\n", "```"))
}

#[test]
fn systemd_accepts_every_unit_and_the_documented_drop_in() {
    let all = sources::all();
    let units: Vec<_> = all.iter().filter(|(path, _)| path.starts_with("packaging/systemd/")).collect();
    assert_eq!(units.len(), 4, "{units:?}");
    for (manager, folder) in [("--system", "packaging/systemd/"), ("--user", "packaging/systemd/user/")] {
        let own = units.iter().filter_map(|(path, text)| Some((path.strip_prefix(folder)?, text)));
        let own: Vec<_> = own.filter(|(name, _)| !name.contains('/')).collect();
        assert_eq!(own.len(), 2, "{folder}");
        assert_eq!(verified(manager, &own, &documented_drop_in()), "", "{folder}");
        for (name, text) in &own {
            let wrong = text.replace("Description=", "Descriptoin=");
            assert_ne!(verified(manager, &[(*name, &wrong)], ""), "", "{name}: a wrong key passes");
        }
        assert_ne!(verified(manager, &own, "[Socket]\nListenStraem=127.0.0.1:7777\n"), "", "a wrong drop-in passes");
    }
}

/// The faults that systemd's manager of this kind finds in the units of a folder, with this drop-in of the socket.
fn verified(manager: &str, units: &[(&str, &String)], drop_in: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let extra = folder.path().join("cardbrokerd.socket.d");
    std::fs::create_dir(&extra).unwrap();
    std::fs::write(extra.join("tcp.conf"), drop_in).unwrap();
    for (name, text) in units {
        // The program need not be installed here.
        std::fs::write(folder.path().join(name), text.replace("=/usr/bin/cardbrokerd", "=/bin/true")).unwrap();
    }
    let mut command = Command::new("systemd-analyze");
    command.args([manager, "verify", "--man=no", "--recursive-errors=no"]);
    command.args(units.iter().map(|(name, _)| folder.path().join(name)));
    let output = command.env("XDG_RUNTIME_DIR", folder.path()).output().unwrap();
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    if output.status.success() { told } else { format!("{}: {told}", output.status) }
}

/// Whether the unit's exposure level is at most 1.0, and the table of its rights.
fn exposure(unit: &str) -> (bool, String) {
    let arguments = ["security", "--no-pager", "--offline=yes", "--threshold=10", unit];
    let output = Command::new("systemd-analyze").args(arguments).output().unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn a_program_that_needs_a_newer_c_library_fails_the_build() {
    // A program of this machine's C library, which every program needs in some version.
    let own = std::env::current_exe().unwrap();
    let check = |version: &str| {
        let script = sources::root().join("packaging/newest-glibc.sh");
        Command::new(script).arg(version).arg(&own).output().unwrap().status.success()
    };
    assert!(check("9.99"));
    assert!(!check("2.4"));
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
