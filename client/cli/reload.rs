//! `cardbroker reload`: the broker reads its configuration and tokens again.

use cardbroker_client::{
    Client,
    diagnostics::{ReloadState, ReloadedPart},
};
use clap::Args;
use serde_json::{Value, json};

use super::{
    Failure, Screen,
    failure::Exit,
    json::{filled, write_line},
    printable, words,
};

const NEEDED: &str = "configure";

/// Let the broker read its rules and tokens again, without a restart; for operators.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct ReloadArguments {}

const HELP: &str = "\
Examples:
  cardbroker reload
  cardbroker reload --json

Prints a line for the rules, for the other settings and for the tokens: how many are in force, what has changed, and \
which settings take effect at the next start of the broker. If a file has a mistake, the old rules stay in force, the \
error names the file and the line, and the exit code is 1; it is also 1 if the tokens cannot be read. Exit code 7: the \
reload is taking long and continues; `cardbroker status` shows its result.

Needs the permission configure in a rule without readers, which must grant it by name: `all` does not include it. \
Without rules the user that runs the broker and root have it. `denied by rule ...` means that this rule decides, or \
that none allows it: cardbroker policy check --help.";

pub(crate) async fn run(client: &Client, json: bool, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let parts = client.diagnostics().reload().await.map_err(|error| Failure::operator(error, NEEDED))?;
    if json {
        write_line(screen.out, &json!({ "parts": parts.iter().map(part).collect::<Vec<_>>() }))?;
    } else {
        for part in &parts {
            writeln!(screen.out, "{}", printable(&part.message))?;
        }
    }
    match parts.iter().any(|part| part.state() == ReloadState::Failed) {
        true => Err(Failure::Reported(Exit::Refused)),
        false => Ok(()),
    }
}

fn part(part: &ReloadedPart) -> Value {
    json!({
        "part": words::reload_part(part.part),
        "state": words::reload_state(part.state),
        "file": filled(&part.file),
        "changed": part.changed,
        "more_changed_count": part.more_changed_count,
        "message": part.message,
    })
}
