//! The crates that the programs contain, from `cargo metadata`.

use std::{
    collections::{BTreeSet, HashMap},
    env, fmt,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use serde_json::Value;

/// The packages of the programs.
pub(super) const PROGRAMS: [&str; 2] = ["cardbroker", "cardbroker-server"];

/// The system for which packages are made.
pub(super) const TARGET: &str = "x86_64-unknown-linux-gnu";

/// A crate from elsewhere. It is displayed with name, version and licence.
pub(super) struct Crate {
    pub(super) name: String,
    pub(super) version: String,
    /// The SPDX expression of its manifest.
    pub(super) licence: String,
    pub(super) authors: Vec<String>,
    /// The place where cargo has unpacked its sources.
    pub(super) folder: PathBuf,
}

impl Crate {
    fn new(package: &Value) -> anyhow::Result<Self> {
        let word = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
        let authors = package["authors"].as_array().context("no list of authors")?;
        Ok(Self {
            name: word("name"),
            version: word("version"),
            licence: word("license"),
            authors: authors.iter().filter_map(|author| author.as_str().map(str::to_owned)).collect(),
            folder: PathBuf::from(word("manifest_path")).parent().context("a manifest without a folder")?.to_owned(),
        })
    }
}

impl fmt::Display for Crate {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} {} ({})", self.name, self.version, self.licence)
    }
}

/// The crates from elsewhere that are linked into the programs, and the macros that generate parts of them.
///
/// # Errors
/// cargo fails, or its answer is not understood.
pub(super) fn contained() -> anyhow::Result<Vec<Crate>> {
    let metadata = metadata()?;
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
    let contained = packages.iter().filter(|package| !is_ours(package) && seen.contains(&package["id"].to_string()));
    contained.map(Crate::new).collect()
}

fn metadata() -> anyhow::Result<Value> {
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--locked", "--format-version=1", "--filter-platform", TARGET])
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "cargo metadata: {}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}
