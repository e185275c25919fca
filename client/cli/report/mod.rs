//! `cardbroker report`: a file to attach to a bug report, without secrets and names.

mod content;
mod mask;
mod system;
#[cfg(test)]
mod tests;

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use cardbroker_client::{Endpoint, EndpointError};
use cardbroker_local::private_file::create_new;
use clap::Args;

use super::{
    Failure, Screen, ask,
    doctor::{gather, judge, within_limit},
    json,
};

/// Write a file to attach to a bug report: versions, doctor's findings and the broker's state, without names, serial
/// numbers, messages and log lines. Shows it and asks first.
#[derive(Args)]
#[command(after_long_help = "Examples:\n  cardbroker report\n  cardbroker report -o report.txt --yes")]
pub(crate) struct ReportArguments {
    /// The file to write, readable by this user only.
    #[arg(short, long, value_name = "FILE", default_value = "cardbroker-report.txt")]
    out: PathBuf,
    /// Do not ask. Needed without a terminal.
    #[arg(long)]
    yes: bool,
    /// Replace the file if it exists.
    #[arg(long)]
    force: bool,
}

/// Shows the report, asks, and writes it. Needs no broker.
///
/// # Errors
/// [`Failure::Usage`] if there is no terminal to ask at, or the file exists; [`Failure::Undone`]; [`Failure::Output`].
pub(crate) async fn run(
    endpoint: Result<Option<Endpoint>, EndpointError>,
    token_file: Option<PathBuf>,
    arguments: &ReportArguments,
    json: bool,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let path = arguments.out.display();
    if !arguments.yes && (json || !(screen.terminal && io::stdin().is_terminal())) {
        let how = if json { "with --json nobody is asked" } else { "without a terminal nobody can be asked" };
        return Err(Failure::Usage(format!("{how}: give --yes to write the report all the same")));
    }
    if !arguments.force && fs::symlink_metadata(&arguments.out).is_ok() {
        return Err(exists(&arguments.out));
    }
    let facts = gather(endpoint, token_file).await;
    let system = within_limit(system::look).unwrap_or_default();
    let private = private_names(|name| env::var_os(name));
    let text = content::write(&facts, &judge(&facts), &system, SystemTime::now(), &private);
    if !arguments.yes {
        writeln!(screen.out, "{text}")?;
        if !ask::is_confirmed(&format!("Write this to {path}?"), screen).await? {
            return Err(Failure::Undone("nothing was written".to_owned()));
        }
    }
    save(&arguments.out, &text, arguments.force).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(&arguments.out),
        _ => Failure::Usage(format!("{path} cannot be written: {error}")),
    })?;
    let done = format!("the report is in {path}");
    match json {
        true => json::write_line(screen.err, &serde_json::json!({ "note": done }))?,
        false => writeln!(screen.err, "cardbroker: {done}")?,
    }
    Ok(())
}

fn exists(path: &Path) -> Failure {
    Failure::Usage(format!("{} exists: --force replaces it, or name another file with -o", path.display()))
}

/// The variables with a name of the user or of the machine, on Unix and on Windows.
const NAMES: [&str; 5] = ["USER", "LOGNAME", "SUDO_USER", "USERNAME", "COMPUTERNAME"];

/// The variables with the user's folder.
const HOMES: [&str; 2] = ["HOME", "USERPROFILE"];

/// Names of this machine and its user that no reader's name may show, by the environment's `variable`.
fn private_names(variable: impl Fn(&str) -> Option<OsString>) -> Vec<String> {
    let last = |path: OsString| Some(Path::new(&path).file_name()?.to_string_lossy().into_owned());
    let homes = HOMES.into_iter().filter_map(|name| last(variable(name)?));
    let host = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = host.map(|host| host.trim().split('.').next().unwrap_or_default().to_owned());
    let names = NAMES.into_iter().filter_map(|name| variable(name)?.into_string().ok());
    names.chain(homes).chain(host).filter(|name| !name.is_empty()).collect()
}

/// Writes a new file for this user only. With `replace` it takes the place of another one in a single step, and follows
/// no link.
fn save(path: &Path, text: &str, replace: bool) -> io::Result<()> {
    if !replace {
        return create_new(path)?.write_all(text.as_bytes());
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let written = create_new(&new).and_then(|mut file| file.write_all(text.as_bytes()));
    let done = written.and_then(|()| fs::rename(&new, path));
    if done.is_err() {
        // The first error is reported.
        let _ = fs::remove_file(&new);
    }
    done
}
