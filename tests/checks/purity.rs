//! The core's crate depends on no runtime, transport, log or system interface, not even through another crate.

use std::process::Command;

use super::sources;

/// Crates (and their families: tonic is tonic_types too) that decisions do without.
const FORBIDDEN: &[&str] = &["nix", "tokio", "tonic", "tracing"];

/// The normal dependencies of a crate on this machine, its own name among them, one a line: name and version.
fn dependencies(of: &str) -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let tree = ["tree", "--offline", "--locked", "--package", of, "--edges", "normal"];
    let output = Command::new(cargo)
        .args(tree)
        .args(["--prefix", "none"])
        .current_dir(sources::root())
        .output()
        .unwrap_or_else(|error| panic!("cargo tree: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Those of a list of dependencies that decisions do without.
fn forbidden(dependencies: &str) -> Vec<&str> {
    let names = dependencies.lines().filter_map(|line| line.split_whitespace().next());
    let is_of = |name: &str, family: &str| {
        name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
    };
    names.filter(|name| FORBIDDEN.iter().any(|family| is_of(name, family))).collect()
}

#[test]
fn decisions_depend_on_no_runtime() {
    let core = dependencies("cardbroker-core");
    assert!(core.lines().count() > 1, "{core}");
    assert_eq!(forbidden(&core), [""; 0], "in the dependencies of cardbroker-core:\n{core}");
}

#[test]
fn forbidden_dependencies_of_the_server_are_found() {
    let server = dependencies("cardbroker-server");
    let found = forbidden(&server);
    for family in FORBIDDEN {
        assert!(found.contains(family), "{family} is not found");
    }
    assert_eq!(forbidden("tonic-types v1\ntokenizer v1\nunix v1"), ["tonic-types"]);
}
