//! Packages of the tests' own programs, in versions that the stories choose.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
};

use anyhow::{Context, ensure};
use cardbroker_tests::harness::builds::program;

use super::ROOT;

/// Makes the Debian package in this version (such as `0.1.0-1`), unless a story has made it.
pub(super) fn debian_package(version: &str) -> anyhow::Result<PathBuf> {
    // Compressed quickly.
    package("deb", version, &[version, "-Zgzip", "-z1"])
}

/// Makes the RPM package in this release (such as `1`), unless a story has made it.
pub(super) fn rpm_package(release: &str) -> anyhow::Result<PathBuf> {
    package("rpm", release, &["--payload-compress", "none", "--set-metadata", &format!("release = \"{release}\"")])
}

/// The packages that this process has made, by their names. All are made of the same contents, one at a time.
static MADE: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());

fn package(kind: &str, version: &str, arguments: &[&str]) -> anyhow::Result<PathBuf> {
    let mut made = MADE.lock().ok().context("another story failed to make a package")?;
    let name = format!("cardbroker_{version}.{kind}");
    if let Some(package) = made.get(&name) {
        return Ok(package.clone());
    }
    // Not the folder of `make deb`, whose packages belong to its user.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
    let contents = folder.join("cardbroker");
    if made.is_empty() {
        let programs = program("cardbrokerd")?;
        let programs = programs.parent().context("no folder")?;
        run_script(script("build.sh").arg(programs).arg(program("package-parts")?).arg(&contents))?;
    }
    run_script(script(&format!("{kind}.sh")).arg(&contents).args(arguments))?;
    let package = folder.join(&name);
    fs::rename(contents.with_extension(kind), &package)?;
    made.insert(name, package.clone());
    Ok(package)
}

fn script(name: &str) -> Command {
    Command::new(Path::new(ROOT).join("packaging").join(name))
}

fn run_script(command: &mut Command) -> anyhow::Result<()> {
    let status = command.stdin(Stdio::null()).status()?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}
