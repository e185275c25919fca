//! The processes of a run: the card, its users, and its observers. Each is this program again, controlled by its
//! arguments and by lines on its standard input; it answers by lines on its standard output and ends when its input
//! does.

mod card;
mod holder;
mod observer;
mod operator;
pub(crate) mod sharer;
mod stamps;
mod units;

use std::io::{self, BufRead, Write};

use cardbroker_tests::harness::flood;
use clap::Subcommand;

/// The kind of a process of the benchmark.
#[derive(Subcommand)]
pub(crate) enum Worker {
    /// The card, until this process is killed.
    Card(card::Arguments),
    /// A process that runs units of commands.
    Units(units::Arguments),
    /// A process that shares the card by the broker.
    Sharer(sharer::Arguments),
    /// A process that takes and releases the card.
    Holder(holder::Arguments),
    /// An observer of insertions on PC/SC itself.
    Observer(observer::Arguments),
    /// An operator who looks on.
    Operator(operator::Arguments),
    /// A hostile client that floods the broker.
    Flood(flood::Arguments),
    /// A broker with a record of its time stamps.
    Stamps(stamps::Arguments),
}

impl Worker {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Card(arguments) => card::run(&arguments),
            Self::Units(arguments) => on_a_runtime(units::run(arguments)),
            Self::Sharer(arguments) => sharer::run(arguments),
            Self::Holder(arguments) => on_a_runtime(holder::run(arguments)),
            Self::Observer(arguments) => observer::run(&arguments),
            Self::Operator(arguments) => on_a_runtime(operator::run(arguments)),
            Self::Flood(arguments) => flood::run(arguments),
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
