//! The libpcsclite of Debian 13, which speaks a later version of its protocol, with the C library that it needs.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    time::Duration,
};

use anyhow::{Context, ensure};

use super::run::wait;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// The maximum time of a download of 20 MB.
const MAKING: Duration = Duration::from_secs(300);

/// The libraries in a folder of their own.
pub struct NewerPcsclite(PathBuf);

/// The libraries, unpacked once.
///
/// # Errors
/// mmdebstrap is not installed, or the packages cannot be downloaded.
pub fn files() -> anyhow::Result<NewerPcsclite> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock();
    let target = Path::new(ROOT).join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()));
    let folder = target.join("tools/pcsclite-trixie");
    if !folder.exists() {
        fs::create_dir_all(target.join("tools"))?;
        let part = folder.with_extension("part");
        // An error means that it is not there.
        let _ = fs::remove_dir_all(&part);
        let mut mmdebstrap = Command::new("mmdebstrap");
        mmdebstrap.args(["--quiet", "--variant=extract", "--include=libpcsclite1", "trixie"]).arg(&part);
        let made = wait(&mut mmdebstrap.stdin(Stdio::null()).spawn().context("cannot run mmdebstrap")?, MAKING)?;
        ensure!(made.success(), "mmdebstrap: {made}");
        fs::rename(part, &folder)?;
    }
    Ok(NewerPcsclite(fs::canonicalize(folder)?))
}

impl NewerPcsclite {
    /// A command that runs a program with these libraries instead of the system's.
    ///
    /// # Errors
    /// The folder does not contain them.
    pub fn run(&self, program: &str) -> anyhow::Result<Command> {
        let folders = fs::read_dir(self.0.join("usr/lib"))?.flatten().map(|entry| entry.path());
        let libraries = folders.into_iter().find(|folder| folder.join("libpcsclite.so.1").exists());
        let libraries = libraries.context("no libpcsclite")?;
        let files = fs::read_dir(&libraries)?.flatten().map(|entry| entry.path());
        let is_loader = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ld-"));
        let loader = files.into_iter().find(is_loader).context("no loader")?;
        let mut command = Command::new(loader);
        command.arg("--library-path").arg(libraries).arg(program);
        Ok(command)
    }
}
