//! The driver of the Rust client for the conformance kit (`proto/conformance/README.md`): reads and writes one JSON
//! object a line, and uses the public API only, except for the search for a broker.

mod answer;
mod places;
mod read;
mod state;

use std::{
    io::{self, BufRead, Write},
    thread,
};

use serde_json::Value;
use state::State;
use tokio::sync::mpsc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let mut lines = lines()?;
    let mut state = State::default();
    while let Some(line) = lines.recv().await {
        let answer = match serde_json::from_str::<Value>(&line) {
            Ok(order) => state.obey(&order).await,
            Err(error) => answer::malformed(&error.to_string()),
        };
        let mut out = io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

/// Standard input, read by a thread of its own, so that sessions and watches go on meanwhile.
fn lines() -> io::Result<mpsc::Receiver<String>> {
    let (told, lines) = mpsc::channel(1);
    thread::Builder::new().name("input".to_owned()).spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok).filter(|line| !line.trim().is_empty()) {
            if told.blocking_send(line).is_err() {
                break;
            }
        }
    })?;
    Ok(lines)
}
