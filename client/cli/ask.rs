//! A question to a person at the terminal.

use std::{
    io::{self, BufRead, Read},
    thread,
};

use tokio::sync::oneshot;

use crate::{Failure, Screen};

/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64;

/// Asks on standard error; only `y` and `yes` confirm. A thread of its own reads the answer, so that Ctrl-C still ends
/// the program.
///
/// # Errors
/// [`Failure::Usage`] if standard input cannot be read; [`Failure::Output`] if the question cannot be written.
pub(crate) async fn is_confirmed(question: &str, screen: &mut Screen<'_>) -> Result<bool, Failure> {
    write!(screen.err, "{question} [y/N] ")?;
    screen.err.flush()?;
    let (told, answer) = oneshot::channel();
    thread::Builder::new().name("answer".to_owned()).spawn(move || {
        let mut answer = String::new();
        let read = io::stdin().lock().take(MAX_ANSWER).read_line(&mut answer).map(|_| answer);
        // If the program ends, nobody needs the answer.
        let _ = told.send(read);
    })?;
    let answer = answer.await.unwrap_or_else(|_| Ok(String::new()));
    let answer = answer.map_err(|error| Failure::Usage(format!("standard input: {error}")))?;
    if !answer.ends_with('\n') {
        writeln!(screen.err)?;
    }
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
