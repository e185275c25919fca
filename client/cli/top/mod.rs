//! `cardbroker top`: the broker and its readers on the full screen, for operators.
//!
//! ```text
//! keys, signals, time ─┐              ┌─ State ──▶ view ──▶ terminal
//!                      ├─▶ shell ──▶ on(event)
//!   broker's states ───┘              └─ orders (quit, release) ──▶ shell
//! ```

mod commands;
mod console;
mod convert;
mod dialog;
mod keys;
mod model;
mod order;
mod rates;
mod shell;
mod signals;
mod state;
mod text;
mod view;
mod warnings;

use std::{
    env,
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use cardbroker_client::Client;
use clap::Args;
use state::State;
use view::{Palette, has_colors};

use super::{Failure, completion, end, select, status};

/// Show on the full screen who holds the readers, who waits, and what went wrong; release a turn. Needs the permission
/// diagnose.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct TopArguments {
    /// Only this reader: its name, or a part of it that only one reader has.
    #[arg(add = completion::readers())]
    reader: Option<String>,
    /// The time between two states, 250ms to 1h.
    #[arg(long, value_name = "DURATION", value_parser = status::interval, default_value = "1s")]
    interval: Duration,
}

const HELP: &str = "\
Examples:
  cardbroker top
  cardbroker top yubikey --interval 250ms

Keys: q quit, Enter show a reader, r release the turn of its holder, / filter, s sort, space pause, ? help.

Columns: HELD and LONGEST are the time of the holder's turn and the wait of the request that has waited longest. \
TURNS/S is the number of turns of the last 10 s, by second. P99 WAIT: 99 of 100 turns of the last minute waited at \
most this long. It is an estimate, because the broker counts turns and adds up their waits: of the turns that began \
between two states, the present holder's counts with its own wait and each other one with their mean; a request that \
still waits counts with its wait so far. Narrow screens leave out columns.

Colors are not used if the variable NO_COLOR is set.";

impl TopArguments {
    /// Checks what a full screen needs: a terminal that can place its cursor.
    ///
    /// # Errors
    /// [`Failure::Usage`], which names the command for programs.
    pub(crate) fn check(&self, json: bool, is_terminal: bool) -> Result<(), Failure> {
        let has_cursor = env::var("TERM").is_ok_and(|term| !term.is_empty() && term != "dumb");
        if json || !is_terminal || !io::stdin().is_terminal() || !has_cursor {
            let what = if json { "has no JSON" } else { "needs a terminal" };
            return Err(Failure::Usage(format!("top {what}: use \"cardbroker status --watch --json\"")));
        }
        Ok(())
    }
}

/// Shows the broker until the user quits, or a signal ends the program.
pub(crate) async fn run(client: &Client, arguments: TopArguments) -> Result<(), Failure> {
    let TopArguments { reader, interval } = arguments;
    let reader = match reader {
        Some(reader) => Some(end::before_sending(select::find(client, &reader)).await?.name),
        None => None,
    };
    let variable = |name| env::var(name).ok();
    let palette = Palette::new(has_colors(variable("NO_COLOR").as_deref(), &variable("TERM").unwrap_or_default()));
    let state = State::new(client.endpoint().to_string(), reader, interval, Instant::now());
    shell::run(client, state, &palette).await
}

#[cfg(test)]
mod examples;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_programs_are_sent_to_status() {
        let arguments = TopArguments { reader: None, interval: Duration::from_secs(1) };
        let Err(Failure::Usage(message)) = arguments.check(false, false) else { panic!("accepted") };
        assert_eq!(message, "top needs a terminal: use \"cardbroker status --watch --json\"");
    }
}
