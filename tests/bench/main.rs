//! The program `bench`: measures the broker beside direct PC/SC, in one run on one machine, and writes tables.

mod alone;
mod clock;
mod daemon;
mod door;
mod events;
mod floods;
mod groups;
mod hand_over;
mod inside;
mod operators;
mod processors;
mod queue;
mod report;
mod samples;
mod scale;
mod stage;
mod tcp;
mod tls;
mod together;
mod users;
mod worker;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
};

use clap::{Parser, ValueEnum};
use report::{Table, progress};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Measure the broker beside direct PC/SC, over the same virtual card behind a real pcscd, and write results.md and
/// results.json. A complete run also writes docs/benchmarks.md.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    /// A run of three minutes, to check that everything works. Its numbers mean little.
    #[arg(long)]
    quick: bool,
    /// How often each measurement is repeated, the ways taking turns.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Run only this case; may be repeated.
    #[arg(long, value_enum)]
    only: Vec<Case>,
    /// Another build of cardbrokerd, for example of an earlier version: the case `groups` compares with it, and
    /// `floods` measures it.
    #[arg(long)]
    before: Option<PathBuf>,
    /// The folder for the results.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    #[command(subcommand)]
    process: Option<Process>,
}

#[derive(clap::Subcommand)]
enum Process {
    /// Run one of the benchmark's own processes.
    #[command(subcommand, hide = true)]
    Worker(worker::Worker),
}

/// The cases that can be measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    /// One client: the cost of the broker.
    Alone,
    /// One client on the TCP port: the cost of TLS.
    Tls,
    /// Where the time goes inside the broker.
    Inside,
    /// Many clients on one card at once.
    Together,
    /// Isolation groups on a card with slow resets.
    Groups,
    /// Users who share a card with slow resets.
    Users,
    /// From one holder of the card to the next.
    HandOver,
    /// Programs that use PC/SC, on pcscd and on the front door.
    Door,
    /// From an insertion to the watching clients.
    Events,
    /// Operators who look on: the cost of a trace and of a status.
    Operators,
    /// Floods of a hostile user beside a client.
    Floods,
    /// Many readers, watchers, clients and sessions.
    Scale,
    /// The queue without the rest of the broker.
    Queue,
    /// The daemon by itself: start, command line, idle wake-ups and memory.
    Daemon,
}

/// How thoroughly to measure: the full run or the quick one.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) quick: bool,
    pub(crate) rounds: u32,
}

impl Effort {
    /// Chooses the number for this run.
    pub(crate) fn choose<T>(self, usual: T, quick: T) -> T {
        if self.quick { quick } else { usual }
    }
}

fn main() -> anyhow::Result<()> {
    let Arguments { quick, rounds, only, before, out, process } = Arguments::parse();
    if let Some(Process::Worker(worker)) = process {
        return worker.run();
    }
    allow_many_files()?;
    let effort = Effort { quick, rounds: if quick { 1 } else { rounds } };
    let cases = Case::value_variants().iter().filter(|case| only.is_empty() || only.contains(case));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut tables = Vec::new();
    for case in cases {
        tables.extend(runtime.block_on(measure(*case, effort, before.as_deref()))?);
        // Written after each case, so that an interrupted run has results.
        report::write(&out, &settings(effort)?, &tables)?;
    }
    let markdown = report::write(&out, &settings(effort)?, &tables)?;
    progress(&format!("written to {}", out.display()));
    // A document with only some of the cases, or with the numbers of a quick run or of another build, would mislead.
    if !quick && only.is_empty() && before.is_none() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        progress(&format!("written to {}", report::publish(&root, &settings(effort)?, &tables)?.display()));
    }
    Ok(io::stdout().write_all(markdown.as_bytes())?)
}

async fn measure(case: Case, effort: Effort, before: Option<&Path>) -> anyhow::Result<Vec<Table>> {
    Ok(match case {
        Case::Alone => vec![alone::measure(effort).await?],
        Case::Tls => vec![tls::measure(effort).await?],
        Case::Inside => vec![inside::measure(effort).await?],
        Case::Together => together::measure(effort).await?,
        Case::Groups => vec![groups::measure(effort, before).await?],
        Case::Users => vec![users::measure(effort).await?],
        Case::HandOver => vec![hand_over::measure(effort).await?],
        Case::Door => door::measure(effort).await?,
        Case::Events => vec![events::measure(effort).await?],
        Case::Operators => vec![operators::measure(effort).await?],
        Case::Floods => vec![floods::measure(effort, before).await?],
        Case::Scale => scale::measure(effort).await?,
        Case::Queue => vec![queue::measure(effort)],
        Case::Daemon => daemon::measure(effort).await?,
    })
}

/// The facts about the run that a reader of the results needs.
fn settings(effort: Effort) -> anyhow::Result<String> {
    let processors = thread::available_parallelism()?;
    let build = if cfg!(debug_assertions) { "without optimisation" } else { "optimised" };
    let rounds = effort.rounds;
    Ok(format!("{processors} processors, {rounds} rounds, built {build}. Ratios are medians of the rounds (min–max)."))
}

/// Raises the limit of this process and its children: each client needs a descriptor at both ends.
fn allow_many_files() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}
