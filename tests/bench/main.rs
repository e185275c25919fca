//! The program `bench`: measures the broker beside direct PC/SC, in one run on one machine, and writes tables.

mod alone;
mod cases;
mod clock;
mod daemon;
mod door;
mod ending;
mod events;
mod floods;
mod groups;
mod hand_over;
mod inside;
mod machine;
mod operators;
mod processors;
mod queue;
mod report;
mod rounds;
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
    process::ExitCode,
};

use anyhow::ensure;
use cases::{Case, SMOKE};
use clap::{Parser, ValueEnum};
use report::{Report, Section, progress};
use rounds::Effort;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The fewest rounds whose spread says something.
const ROUNDS: u32 = 7;

/// Measure the broker beside direct PC/SC, over the same virtual card behind a real pcscd, and write results.md and
/// results.json. A complete run also writes docs/benchmarks.md.
///
/// Exit codes: 0 all cases were measured; 1 a case has failed, the others were measured; 2 the run was cut off.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    /// A run of four minutes, to check that everything works. Its numbers mean little.
    #[arg(long)]
    quick: bool,
    /// A run of one minute that writes nothing, and fails if a ratio misses its target by more than a factor of three.
    #[arg(long, conflicts_with_all = ["quick", "only", "before", "out", "rounds"])]
    smoke: bool,
    /// How often each measurement is repeated, the ways taking turns.
    #[arg(long, default_value_t = ROUNDS, value_parser = clap::value_parser!(u32).range(1..=100))]
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

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(Process::Worker(worker)) = arguments.process {
        worker.run()?;
        return Ok(ExitCode::SUCCESS);
    }
    ending::supervised(|| {
        allow_many_files()?;
        if arguments.smoke { smoke() } else { full(&arguments) }
    })
}

/// Measures the cases and writes the results.
fn full(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { quick, rounds, only, before, out, .. } = arguments;
    let effort = Effort { quick: *quick, rounds: if *quick { 1 } else { *rounds } };
    let cases = Case::value_variants().iter().filter(|case| only.is_empty() || only.contains(case));
    let mut report = Report { settings: settings(effort)?, sections: Vec::new() };
    let mut markdown = String::new();
    for case in cases {
        report.sections.push(section(*case, effort, before.as_deref())?);
        // Written after each case, so that an interrupted run has results.
        markdown = report::write(out, &report)?;
    }
    progress(&format!("written to {}", out.display()));
    // A document with only some of the cases, or with the numbers of a quick run or of another build, would mislead.
    if !quick && only.is_empty() && before.is_none() && *rounds >= ROUNDS {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        progress(&format!("written to {}", report::publish(&root, &report)?.display()));
    }
    io::stdout().write_all(markdown.as_bytes())?;
    let failed = report.sections.iter().any(|section| section.outcome.is_err());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Measures the ratios of a few cases, for CI.
fn smoke() -> anyhow::Result<ExitCode> {
    let effort = Effort { quick: true, rounds: 1 };
    let mut far_off = 0;
    for case in SMOKE {
        let tables = run(case, effort, None)?;
        let targets: Vec<_> = tables.iter().flat_map(|table| &table.targets).collect();
        ensure!(!targets.is_empty(), "the case {} has no targets", case.name());
        for target in targets {
            let mark = if target.is_far_off() { "FAR OFF: " } else { "" };
            progress(&format!("{mark}{}", target.line()));
            far_off += u32::from(target.is_far_off());
        }
    }
    ensure!(far_off == 0, "{far_off} ratios miss their limits by more than a factor of three");
    Ok(ExitCode::SUCCESS)
}

/// Measures one case; its failure does not end the run.
fn section(case: Case, effort: Effort, before: Option<&Path>) -> anyhow::Result<Section> {
    let load_before = machine::load()?;
    let outcome = run(case, effort, before).map_err(|error| format!("{error:#}"));
    let busy = load_before.max(machine::load()?);
    if let Err(error) = &outcome {
        progress(&format!("the case {} has failed: {error}", case.name()));
    }
    if let Some(busy) = busy {
        progress(&format!("other programs use {busy} % of the processors: the figures are less certain"));
    }
    Ok(Section { case: case.name(), outcome, busy })
}

/// Measures one case on a runtime of its own, which ends everything that a failed case has left behind.
fn run(case: Case, effort: Effort, before: Option<&Path>) -> anyhow::Result<Vec<report::Table>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(case.measure(effort, before))
}

/// The facts about the run that a reader of the results needs.
fn settings(effort: Effort) -> anyhow::Result<String> {
    let build = if cfg!(debug_assertions) { "without optimisation" } else { "optimised" };
    let (machine, rounds) = (machine::description()?, effort.rounds);
    Ok(format!("{machine}, built {build}; {rounds} rounds. Ratios are medians of the rounds (lowest–highest)."))
}

/// Raises the limit of this process and its children: each client needs a descriptor at both ends.
fn allow_many_files() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}
