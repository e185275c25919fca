//! `conformance`: runs the kit against a client's driver.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result};
use cardbroker_conformance::{
    case::{self, Choice},
    contract::Contract,
    lacks,
};
use clap::Parser;

/// Run the conformance kit against a client's driver, which is described in proto/conformance/README.md.
///
/// Exit codes: 0 all cases passed, 1 some failed, 2 the kit could not be run.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The driver's command line, for sh. It runs in the current folder.
    #[arg(long, required_unless_present = "list")]
    driver: Option<String>,
    /// Run only the cases whose name contains SUBSTRING.
    #[arg(long, value_name = "SUBSTRING")]
    only: Option<String>,
    /// Leave out the cases whose name contains SUBSTRING. May be given several times.
    #[arg(long, value_name = "SUBSTRING")]
    skip: Vec<String>,
    /// Leave out the cases that take half a minute or more.
    #[arg(long)]
    quick: bool,
    /// The client's name in the list of drivers: leave out the cases with operations that it lacks (lacks.rs).
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// List the cases, and run none.
    #[arg(long)]
    list: bool,
    /// The folder of the kit. Default: proto/conformance here or in a folder above.
    #[arg(long, value_name = "FOLDER")]
    kit: Option<PathBuf>,
    /// How many scenarios run at a time.
    #[arg(long, default_value_t = 4)]
    jobs: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "conformance: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: &Arguments) -> Result<bool> {
    let contract = Contract::load()?;
    let kit = arguments.kit.clone().or_else(kit).context("no folder proto/conformance here: give --kit")?;
    let lacks = arguments.client.as_deref().map(lacks::of).unwrap_or_default();
    let choice = Choice { only: arguments.only.clone(), skip: arguments.skip.clone(), quick: arguments.quick, lacks };
    let cases = case::all(&contract, &kit, &choice)?;
    let mut out = io::stdout();
    let Some(driver) = arguments.driver.as_ref().filter(|_| !arguments.list) else {
        for case in cases {
            writeln!(out, "{}", case.name())?;
        }
        return Ok(true);
    };
    let count = case::run(&contract, driver, &cases, arguments.jobs, &mut out).await?;
    let left_out = match choice.lacks.len() {
        0 => String::new(),
        _ => {
            let all = case::all(&contract, &kit, &Choice { lacks: Vec::new(), ..choice.clone() })?.len();
            format!(", {} left out: the client has no {}", all - cases.len(), choice.lacks.join(", "))
        }
    };
    writeln!(out, "{} passed, {} failed{left_out}", count.passed, count.failed)?;
    Ok(count.failed == 0 && count.passed > 0)
}

fn kit() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    here.ancestors().map(|folder| folder.join("proto/conformance")).find(|folder| folder.join("scenarios").is_dir())
}
