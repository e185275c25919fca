//! The clients in other languages: built by their own scripts, their example programs found.

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

/// Packages are fetched and C++ is compiled.
const BUILD_TIME: Duration = Duration::from_secs(600);

/// What `build.sh` says where a toolchain is missing; in CI it fails instead.
const SKIPPED: i32 = 77;

/// A language that has a client in a folder of its own.
#[derive(Debug, Clone)]
pub struct Language {
    /// The folder's name.
    pub name: &'static str,
    programs: PathBuf,
}

impl Language {
    /// The path of the example program called `name`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }
}

/// The languages whose clients could be built, which takes minutes the first time. In CI these are all.
///
/// # Errors
/// A build fails, or takes longer than 10 min.
pub fn languages() -> anyhow::Result<&'static [Language]> {
    static LANGUAGES: OnceLock<Result<Vec<Language>, String>> = OnceLock::new();
    let languages = LANGUAGES.get_or_init(|| {
        let built = ["python", "cpp", "node"].into_iter().map(build);
        built.filter_map(Result::transpose).collect::<Result<_, _>>().map_err(|error| format!("{error:#}"))
    });
    languages.as_deref().map_err(|error| anyhow::anyhow!("{error}"))
}

fn build(name: &'static str) -> anyhow::Result<Option<Language>> {
    let root = fs::canonicalize(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))?;
    let script = root.join("client").join(name).join("build.sh");
    writeln!(io::stderr(), "building the client in client/{name}")?;
    let mut process =
        Command::new(script).stdin(Stdio::null()).stdout(io::stderr()).spawn().context("cannot start build.sh")?;
    let status = run::wait(&mut process, BUILD_TIME)?;
    if status.code() == Some(SKIPPED) {
        writeln!(io::stderr(), "the stories are told without the client in client/{name}")?;
        return Ok(None);
    }
    ensure!(status.success(), "client/{name}/build.sh: {status}");
    // As the scripts have it.
    let target = root.join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()));
    let programs = target.join("clients").join(name).join("bin");
    Ok(Some(Language { name, programs }))
}
