//! Names of readers for the completion of shells, from the broker that is running.

use std::{ffi::OsStr, time::Duration};

use cardbroker_client::{ConnectOptions, Endpoint, Reader};
use clap_complete::{ArgValueCompleter, CompletionCandidate};
use tokio::{runtime::Builder, time::timeout};

use super::{connect, printable};

/// The time after which a shell gets no names: a person waits for it.
const LIMIT: Duration = Duration::from_millis(200);

/// Completes the id of a reader that this user may see. Without an answer of a broker in time there are no names, and
/// no message. Options on the line are not regarded: the broker is that of the environment.
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
    let options = ConnectOptions::from_environment();
    let connect = connect(Endpoint::from_environment(), options.token_file, LIMIT);
    let readers = async { connect.await.ok()?.readers().await.ok() };
    let found = runtime.block_on(async { timeout(LIMIT, readers).await.ok()? });
    runtime.shutdown_background();
    found
}
