//! The tables of the crates in docs/architecture.md and of the core's modules, compared with manifests and sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use cardbroker_checks::markdown::in_backticks;
use serde_json::Value;

use super::sources;

type Dependencies = BTreeMap<String, BTreeSet<String>>;

/// The folders of the crates of this repository, each with those of the crates that it depends on, tests aside.
fn manifests() -> Dependencies {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--offline", "--locked", "--no-deps", "--format-version", "1"])
        .current_dir(sources::root())
        .output()
        .unwrap_or_else(|error| panic!("cargo metadata: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let root = metadata["workspace_root"].as_str().unwrap();
    let folder = |path: &str| match path.strip_prefix(root).unwrap().trim_matches('/') {
        // The contract's crate, whose sources are there.
        "" => "proto".to_owned(),
        folder => folder.to_owned(),
    };
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let own = package["manifest_path"].as_str().unwrap().trim_end_matches("Cargo.toml");
            let all = package["dependencies"].as_array().unwrap().iter();
            let needed = all.filter(|dependency| dependency["kind"] != "dev");
            (folder(own), needed.filter_map(|dependency| dependency["path"].as_str().map(folder)).collect())
        })
        .collect()
}

/// The folders in a cell of a table.
fn names(cell: &str) -> impl Iterator<Item = String> {
    in_backticks(cell).map(|name| name.trim_end_matches('/').to_owned())
}

/// The same from the table in docs/architecture.md.
fn table(document: &str) -> Dependencies {
    let rows = document.lines().skip_while(|line| !line.starts_with("| Folder | Crate |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| {
        let cells: Vec<_> = row.split('|').collect();
        let [_, folder, _, _, named, _] = cells[..] else { panic!("{row}") };
        Some((names(folder).next()?, names(named).collect()))
    })
    .collect()
}

#[test]
fn each_crate_names_what_the_architecture_says() {
    let document = fs::read_to_string(sources::root().join("docs/architecture.md")).unwrap();
    let (described, found) = (table(&document), manifests());
    for (folder, named) in &found {
        // The packages of the tests may name all others.
        if folder.starts_with("tests") || folder == "packaging" {
            continue;
        }
        assert_eq!(described.get(folder), Some(named), "docs/architecture.md says another thing about {folder}");
    }
    let wrong = document.replacen("| `proto/pipe` |", "| – |", 1);
    assert_ne!(table(&wrong), described, "a change is not noticed");
}

#[test]
fn each_module_of_the_core_is_described() {
    let core = fs::read_to_string(sources::root().join("server/core/lib.rs")).unwrap();
    let modules = core.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let is_described = |module: &&str| {
        let link = format!("[`{module}`]");
        core.lines().any(|line| line.starts_with("//! | [`") && line.contains(&link))
    };
    // The helpers of tests are mentioned in the text.
    let missing: Vec<_> = modules.filter(|module| *module != "properties" && !is_described(module)).collect();
    assert_eq!(missing, [""; 0]);
}
