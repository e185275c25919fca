//! The processes of a run: the card, those who use it, and those who look on. Each is this program again, told what to do by its
//! arguments and by lines on its standard input; it answers by lines on its standard output and ends when its input does.

mod card;
mod holder;
mod observer;
mod stamps;
mod units;

use std::io::{self, BufRead, Write};

use clap::Subcommand;

/// What a process is.
#[derive(Subcommand)]
pub(crate) enum Worker {
    /// The card, until this process is killed.
    Card(card::Arguments),
    /// Someone who runs units of commands.
    Units(units::Arguments),
    /// Someone who holds the card and lets it go.
    Holder(holder::Arguments),
    /// Someone who sees insertions on PC/SC itself.
    Observer(observer::Arguments),
    /// A broker whose time stamps are kept.
    Stamps(stamps::Arguments),
}

impl Worker {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Card(arguments) => card::run(&arguments),
            Self::Units(arguments) => on_a_runtime(units::run(arguments)),
            Self::Holder(arguments) => on_a_runtime(holder::run(arguments)),
            Self::Observer(arguments) => observer::run(&arguments),
            Self::Stamps(arguments) => stamps::run(arguments),
        }
    }
}

/// One thread for everything, the fastest for a client that does one thing at a time.
fn on_a_runtime(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// The next line of the standard input; `None` at its end.
fn order() -> anyhow::Result<Option<String>> {
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line)?;
    Ok((read > 0).then(|| line.trim().to_owned()))
}

fn tell(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}
