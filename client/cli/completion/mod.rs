//! Names of readers for the completion of shells, from the broker that is running.

mod bash;
mod line;

use std::{
    env,
    ffi::{OsStr, OsString},
    time::Duration,
};

use cardbroker_client::{Endpoint, Reader};
use clap_complete::{
    ArgValueCompleter, CompletionCandidate,
    env::{Elvish, Fish, Powershell, Shells, Zsh},
};
use tokio::{runtime::Builder, time::timeout};

use super::{connect, printable};

/// The time after which a shell gets no names: a person waits for it.
const LIMIT: Duration = Duration::from_millis(200);

/// The shells that can ask for completions.
pub(crate) const SHELLS: Shells<'_> = Shells(&[&bash::Bash, &Elvish, &Fish, &Powershell, &Zsh]);

/// Completes the id of a reader that this user may see, at the broker that the line names (`--endpoint`,
/// `--token-file`), or else the environment. Without an answer in time there are no names, and no message.
pub(crate) fn readers() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let typed = typed.to_str().unwrap_or_default();
        let fits = |reader: &Reader| id(reader).starts_with(typed);
        found().unwrap_or_default().iter().filter(|reader| fits(reader)).map(candidate).collect()
    })
}

fn id(reader: &Reader) -> &str {
    reader.name.trim_start_matches("readers/")
}

fn candidate(reader: &Reader) -> CompletionCandidate {
    CompletionCandidate::new(printable(id(reader))).help(Some(printable(&reader.display_name).into()))
}

fn found() -> Option<Vec<Reader>> {
    let runtime = Builder::new_current_thread().enable_all().build().ok()?;
    let words = typed_words();
    let endpoint = match line::option(&words, "--endpoint") {
        Some(named) => Ok(Some(named.to_str()?.parse().ok()?)),
        None => Endpoint::from_environment(),
    };
    let token_file = line::option(&words, "--token-file").map(Into::into);
    let connect = connect(endpoint, token_file, LIMIT);
    let readers = async { connect.await.ok()?.readers().await.ok() };
    let found = runtime.block_on(async { timeout(LIMIT, readers).await.ok()? });
    runtime.shutdown_background();
    found
}

/// The words of the line behind the program's name. A shell passes them behind `--`.
fn typed_words() -> Vec<OsString> {
    let parts: Vec<_> = env::args_os().skip_while(|word| word != "--").skip(2).collect();
    line::joined(parts, 0).words
}
