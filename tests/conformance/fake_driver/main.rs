//! A driver without a client, for tests of the runner: sends orders to the broker unchanged, and prints the responses.
//! With `--leave-out FIELD` it behaves like a client that does not know a field.

mod calls;
mod codec;
mod session;

use std::{
    io::{self, BufRead, Write},
    process::ExitCode,
};

use anyhow::{Context, Result};
use cardbroker_conformance::{contract::Contract, leave_out::leave_out};
use serde_json::{Value, json};

use calls::Connection;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "fake-driver: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let left_out = (arguments.next().as_deref() == Some("--leave-out")).then(|| arguments.next()).flatten();
    let contract = Contract::load()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut connection = None;
    for line in io::stdin().lock().lines() {
        let mut order: Value = serde_json::from_str(&line?)?;
        if let Some(field) = &left_out {
            leave_out(&mut order, field);
        }
        let mut answer = runtime.block_on(answer(&contract, &mut connection, &order)).unwrap_or_else(|told| told);
        if let Some(field) = &left_out {
            leave_out(&mut answer, field);
        }
        writeln!(io::stdout(), "{answer}")?;
    }
    Ok(())
}

/// Executes an order. Both results are answers.
async fn answer(contract: &Contract, connection: &mut Option<Connection>, order: &Value) -> Result<Value, Value> {
    let op = order["op"].as_str().unwrap_or_default();
    if op == "connect" {
        *connection = Some(calls::connect(contract.clone(), order).await.map_err(|error| invalid(&error))?);
        return Ok(json!({"ok": {}}));
    }
    let connection = connection.as_mut().context("not connected").map_err(|error| invalid(&error))?;
    let result = match op {
        _ if op == "open" || op.starts_with("session_") => connection.in_session(op, order).await?,
        _ => connection.call(op, order).await?,
    };
    Ok(result)
}

/// The error for a request that was refused before anything was sent.
fn invalid(error: &anyhow::Error) -> Value {
    json!({"error": {"kind": "invalid", "failure": {"delivery": "DELIVERY_NOT_SENT", "message": format!("{error:#}")}}})
}
