//! The project's programs, built by cargo for the tests.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::OnceLock,
};

use anyhow::{Context, ensure};
use serde_json::Value;

/// The path of one of the project's programs (`cardbrokerd`, `cardbroker`, `package-parts`, or an example of the
/// client), built from the current sources, optimised if this program is.
///
/// # Errors
/// The program cannot be built, or does not exist.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    static PROGRAMS: Programs = Programs::new();
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    if profile == "release" && PRODUCTS.contains(&name) {
        return released(name);
    }
    // Of the workspace, for which cargo chooses the same features as for the tests: it compiles hardly anything again.
    let targets = BINS.map(|bin| ["--bin", bin]);
    find(&PROGRAMS, profile, &[&["--workspace", "--examples"], targets.as_flattened()].concat(), name)
}

/// The path of the release build of `cardbrokerd`. The first call takes minutes if it was not built before.
///
/// # Errors
/// It cannot be built.
pub fn released_daemon() -> anyhow::Result<PathBuf> {
    released("cardbrokerd")
}

/// The programs that the tests start.
const BINS: [&str; 3] = ["cardbrokerd", "cardbroker", "package-parts"];

/// The programs that a user installs.
const PRODUCTS: [&str; 2] = ["cardbrokerd", "cardbroker"];

/// The release build of a product, as `make build` makes it: one set of packages and features, linked once.
fn released(name: &str) -> anyhow::Result<PathBuf> {
    static PROGRAMS: Programs = Programs::new();
    find(&PROGRAMS, "release", &["--bins", "--package", "cardbroker-server", "--package", "cardbroker"], name)
}

/// Programs by their names, or the error of the build.
type Programs = OnceLock<Result<Vec<(String, PathBuf)>, String>>;

fn find(programs: &Programs, profile: &str, what: &[&str], name: &str) -> anyhow::Result<PathBuf> {
    let programs = programs.get_or_init(|| build(profile, what).map_err(|error| format!("{error:#}")));
    let programs = programs.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?;
    let found = programs.iter().find(|(program, _)| program == name);
    found.map(|(_, path)| path.clone()).with_context(|| format!("the workspace has no program {name}"))
}

/// Builds programs and reads their paths from cargo's output.
fn build(profile: &str, what: &[&str]) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--message-format=json", "--profile", profile])
        .args(what)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "cargo build failed");
    let messages =
        output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let programs = messages.filter_map(|message| {
        let name = message["target"]["name"].as_str()?.to_owned();
        Some((name, PathBuf::from(message["executable"].as_str()?)))
    });
    Ok(programs.collect())
}
