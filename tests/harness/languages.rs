//! The clients in other languages: their builds, by their own scripts, and their example programs.

use std::{
    env, fs,
    io::{self, Write},
    path::PathBuf,
    process::{Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context, ensure};

use super::run;

/// Enough to fetch packages and compile C++.
const BUILD_TIME: Duration = Duration::from_secs(600);

/// The exit code of `build.sh` if a toolchain is missing; in CI it fails instead.
const SKIPPED: i32 = 77;

/// A language with a client in a folder of its own.
#[derive(Debug, Clone)]
pub struct Language {
    /// The name of the client's folder below `client/`.
    pub name: &'static str,
    /// The folder of its programs.
    pub programs: PathBuf,
}

impl Language {
    /// Whether the language has stubs of the contract's own, which need no client.
    pub fn has_stubs(&self) -> bool {
        self.name != "c"
    }

    /// The path of the example program called `name`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }
}

/// The languages, by the folders of their clients.
const NAMES: [&str; 4] = ["python", "cpp", "node", "c"];

/// The languages whose clients could be built, which takes minutes the first time. In CI these are all.
///
/// # Errors
/// A build fails, or takes longer than 10 min.
pub fn languages() -> anyhow::Result<Vec<&'static Language>> {
    NAMES.iter().filter_map(|name| language(name).transpose()).collect()
}

/// One language; `None` if its client cannot be built here.
///
/// # Errors
/// No client has this name; or as [`languages`].
pub fn language(name: &str) -> anyhow::Result<Option<&'static Language>> {
    static BUILT: [OnceLock<Result<Option<Language>, String>>; NAMES.len()] = [const { OnceLock::new() }; NAMES.len()];
    let index = NAMES.iter().position(|known| *known == name).with_context(|| format!("no client/{name}"))?;
    let built = BUILT[index].get_or_init(|| build(NAMES[index]).map_err(|error| format!("{error:#}")));
    built.as_ref().map(Option::as_ref).map_err(|error| anyhow::anyhow!("{error}"))
}

fn build(name: &'static str) -> anyhow::Result<Option<Language>> {
    let root = fs::canonicalize(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))?;
    let script = root.join("client").join(name).join("build.sh");
    writeln!(io::stderr(), "building the client in client/{name}")?;
    let mut process =
        Command::new(script).stdin(Stdio::null()).stdout(io::stderr()).spawn().context("cannot start build.sh")?;
    let status = run::wait(&mut process, BUILD_TIME)?;
    if status.code() == Some(SKIPPED) {
        writeln!(io::stderr(), "the stories run without the client in client/{name}")?;
        return Ok(None);
    }
    ensure!(status.success(), "client/{name}/build.sh: {status}");
    // The same variable as in the scripts.
    let target = root.join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()));
    let programs = target.join("clients").join(name).join("bin");
    Ok(Some(Language { name, programs }))
}
