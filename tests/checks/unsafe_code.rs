//! The crates that may hold unsafe code, and the argument that each such place has.

use std::collections::BTreeSet;

use super::sources;

/// The packages without the workspace's `unsafe_code = "forbid"`, by their folders: one gives pointers to C, one calls
/// Windows.
const ALLOWED: [&str; 2] = ["client/c", "proto/pipe"];

#[test]
fn unsafe_code_is_forbidden_outside_of_the_listed_crates() {
    let is_manifest = |path: &str, text: &str| path.ends_with("Cargo.toml") && text.contains("\n[package]\n");
    let manifests = sources::all().into_iter().filter(|(path, text)| is_manifest(path, &format!("\n{text}")));
    let (inherits, others): (Vec<_>, Vec<_>) =
        manifests.partition(|(_, text)| text.contains("\n[lints]\nworkspace = true"));
    assert!(inherits.len() > 5, "the manifests are found");
    let free = others.iter().filter(|(_, text)| !text.contains("unsafe_code = \"forbid\""));
    let free: BTreeSet<_> = free.map(|(path, _)| path.trim_end_matches("/Cargo.toml")).collect();
    assert_eq!(free, BTreeSet::from(ALLOWED));
    assert!(sources::text("Cargo.toml").contains("[workspace.lints.rust]\nunsafe_code = \"forbid\"\n"));
}

/// The lines of `unsafe` blocks without a reason above them.
fn unreasoned(source: &str) -> Vec<usize> {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let is_comment = |line: &str| line.starts_with("//");
    let has_reason = |index: usize| {
        let above = lines[..index].iter().rev();
        // A block may begin in the second line of its statement.
        let comments = above.skip_while(|line| !is_comment(line)).take_while(|line| is_comment(line));
        comments.into_iter().any(|line| line.starts_with("// SAFETY: "))
    };
    let blocks = lines.iter().enumerate().filter(|(_, line)| line.contains("unsafe {") && !is_comment(line));
    blocks.filter(|(index, _)| !has_reason(*index)).map(|(index, _)| index + 1).collect()
}

#[test]
fn every_unsafe_block_has_its_reason() {
    let mut blocks = 0;
    let may = |path: &str| ALLOWED.iter().any(|folder| path.starts_with(&format!("{folder}/")));
    for (path, text) in sources::rust().iter().filter(|(path, _)| may(path)) {
        blocks += text.matches("unsafe {").count();
        assert_eq!(unreasoned(text), [0; 0], "{path}");
    }
    assert!(blocks > 10, "the unsafe blocks are found");
    assert_eq!(unreasoned("fn f() {\n    unsafe { g() }\n}\n// SAFETY: tested.\nunsafe { g() }\n"), [2]);
}
