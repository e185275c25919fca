//! `mutant`: runs a real driver as if its client did not know a field, to test the kit. `mutant orders FIELD COMMAND…`
//! removes the field from all orders to the driver, `mutant answers FIELD COMMAND…` from all its answers.

use std::{
    io::{self, BufRead, BufReader, Write},
    process::{Command, ExitCode, Stdio},
    thread,
};

use anyhow::{Context, Result, bail};
use cardbroker_conformance::leave_out::leave_out;
use serde_json::Value;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "mutant: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [side, field, command, rest @ ..] = arguments.as_slice() else { bail!("give a side, a field and a command") };
    let (of_orders, of_answers) = match side.as_str() {
        "orders" => (Some(field.clone()), None),
        "answers" => (None, Some(field.clone())),
        _ => bail!("orders or answers, not {side}"),
    };
    let mut driver = Command::new(command);
    let mut driver = driver.args(rest).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("the driver")?;
    let (orders, answers) = (driver.stdin.take(), driver.stdout.take());
    let (orders, answers) = (orders.context("no standard input")?, answers.context("no standard output")?);
    // Ends when the runner closes this program's input, and ends the driver by closing its input.
    thread::spawn(move || copy(io::stdin().lock(), orders, of_orders.as_deref()));
    copy(BufReader::new(answers), io::stdout().lock(), of_answers.as_deref())?;
    driver.wait()?;
    Ok(())
}

/// Copies lines of JSON without a field.
fn copy(from: impl BufRead, mut to: impl Write, field: Option<&str>) -> Result<()> {
    for line in from.lines() {
        let mut value: Value = serde_json::from_str(&line?)?;
        if let Some(field) = field {
            leave_out(&mut value, field);
        }
        writeln!(to, "{value}")?;
        to.flush()?;
    }
    Ok(())
}
