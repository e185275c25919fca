//! The licences of the crates that the programs contain, with their texts.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    env,
    fmt::Write,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use serde_json::Value;

/// The packages of the programs.
const PROGRAMS: [&str; 2] = ["cardbroker", "cardbroker-server"];

/// The system for which packages are made.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Writes one file: each text once, below the crates that have it.
///
/// # Errors
/// cargo fails, or a file cannot be read or written.
pub(crate) fn write(file: &Path) -> anyhow::Result<()> {
    let metadata = metadata()?;
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in contained(&metadata)? {
        let word = |key: &str| package[key].as_str().unwrap_or_default();
        let manifest = Path::new(word("manifest_path"));
        let name = format!("{} {} ({})", word("name"), word("version"), word("license"));
        for text in found(manifest.parent().context("a manifest without a folder")?)? {
            texts.entry(text).or_default().push(name.clone());
        }
    }
    let mut all = String::from("Licences of the crates that cardbroker and cardbrokerd contain.\n");
    let mut sorted: Vec<_> = texts.into_iter().collect();
    sorted.sort_by(|(_, one), (_, other)| one.cmp(other));
    for (text, crates) in sorted {
        write!(all, "\n{}\n{}\n\n{}\n", "-".repeat(80), crates.join("\n"), text.trim_end())?;
    }
    Ok(fs::write(file, all)?)
}

fn metadata() -> anyhow::Result<Value> {
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--locked", "--format-version=1", "--filter-platform", TARGET])
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "cargo metadata: {}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The packages from elsewhere that are linked into the programs.
fn contained(metadata: &Value) -> anyhow::Result<Vec<&Value>> {
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let packages = metadata["packages"].as_array().context("no packages")?;
    let nodes: HashMap<_, _> =
        list(&metadata["resolve"]["nodes"]).into_iter().map(|node| (node["id"].to_string(), node)).collect();
    let is_ours = |package: &&Value| package["source"].is_null();
    let roots = packages.iter().filter(is_ours).filter(|package| PROGRAMS.iter().any(|name| package["name"] == *name));
    let mut waiting: Vec<_> = roots.map(|package| package["id"].to_string()).collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if !seen.insert(id.clone()) {
            continue;
        }
        let linked = |dependency: &Value| list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
        let dependencies = list(&nodes.get(&id).context("a package without a node")?["deps"]);
        waiting.extend(
            dependencies.iter().filter(|dependency| linked(dependency)).map(|dependency| dependency["pkg"].to_string()),
        );
    }
    Ok(packages.iter().filter(|package| !is_ours(package) && seen.contains(&package["id"].to_string())).collect())
}

/// The texts of the licence files in a crate's folder.
fn found(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        let is_licence =
            ["LICENSE", "LICENCE", "COPYING", "NOTICE", "COPYRIGHT"].iter().any(|begin| name.starts_with(begin));
        if is_licence && entry.file_type()?.is_file() {
            texts.push(fs::read_to_string(entry.path())?);
        }
    }
    texts.sort();
    Ok(texts)
}
