//! The line for a person while a request waits for its turn: how many turns are ahead, and behind whom.

use std::{
    future::Future,
    io::{self, IsTerminal, Write},
    pin::pin,
    time::{Duration, SystemTime},
};

use cardbroker_client::{Client, TurnHolder, WaitingTurn};
use tokio::{
    sync::watch,
    time::{Instant, interval_at},
};

use super::{
    clock::{Clock, rough},
    layout::WIDTH,
    words::{count, turn_kind},
};

/// A shorter wait needs no words; also the time between two updates.
const PATIENCE: Duration = Duration::from_secs(1);

const CLEAR: &str = "\r\x1b[K";

/// A request that waits, as far as its words depend on it.
pub(crate) struct Wait<'a> {
    pub(crate) client: &'a Client,
    pub(crate) reader: &'a str,
    pub(crate) is_session: bool,
    /// The number of turns ahead, if the request's own stream reports it.
    pub(crate) turns_ahead: watch::Receiver<Option<u32>>,
}

impl Wait<'_> {
    /// Waits for the outcome. On a terminal one line says after a second what the request waits for, and follows it
    /// until the end; with `--json` and without a terminal nothing is said.
    pub(crate) async fn talk<F: Future>(&self, waiting: F, json: bool, err: &mut dyn Write) -> F::Output {
        if json || !io::stderr().is_terminal() {
            return waiting.await;
        }
        let mut waiting = pin!(waiting);
        tokio::select! {
            biased;
            outcome = &mut waiting => return outcome,
            () = tokio::time::sleep(PATIENCE) => {}
        }
        let mut shown = Shown { err, is_clear: true };
        let mut turns = self.client.watch_turn().at(self.reader);
        let mut latest = None;
        let mut is_followed = true;
        let mut ticks = interval_at(Instant::now() + PATIENCE, PATIENCE);
        loop {
            tokio::select! {
                biased;
                outcome = &mut waiting => return outcome,
                told = turns.next(), if is_followed => match told {
                    Ok(told) => latest = self.own(told),
                    // The request itself reports what is wrong.
                    Err(_) => (latest, is_followed) = (None, false),
                },
                _ = ticks.tick() => {}
            }
            let ahead = latest.as_ref().map(|turn| turn.turns_ahead).or(*self.turns_ahead.borrow());
            let holder = latest.as_ref().and_then(|turn| turn.holder.as_ref());
            shown.replace(&ahead.map(|ahead| line(ahead, holder, &Clock::at(None))).unwrap_or_default());
        }
    }

    /// This request among all that wait for this program.
    fn own(&self, turns: Vec<WaitingTurn>) -> Option<WaitingTurn> {
        turns.into_iter().find(|turn| turn.reader == self.reader && turn.is_session == self.is_session)
    }
}

fn line(ahead: u32, holder: Option<&TurnHolder>, clock: &Clock) -> String {
    let queue = match ahead {
        0 => "this request is next".to_owned(),
        ahead => format!("{} ahead", count(ahead.into(), "turn")),
    };
    let holder = holder.map(|holder| format!("; {}", held(holder, clock))).unwrap_or_default();
    // A line that wraps could not be replaced.
    format!("{queue}{holder}").chars().take(WIDTH - 1).collect()
}

fn held(holder: &TurnHolder, clock: &Clock) -> String {
    let whose = if holder.is_own { "your own" } else { "another caller's" };
    let kind = turn_kind(holder.is_session);
    let since = |time: SystemTime| format!(" since {} ({})", clock.local(time), rough(clock.since(time)));
    format!("{whose} {kind} has the card{}", holder.begin_time.map(since).unwrap_or_default())
}

/// A line that can be replaced, and is gone at the end.
struct Shown<'a> {
    err: &'a mut dyn Write,
    is_clear: bool,
}

impl Shown<'_> {
    /// If stderr is closed, nobody reads the line.
    fn replace(&mut self, line: &str) {
        if line.is_empty() && self.is_clear {
            return;
        }
        let _ = write!(self.err, "{CLEAR}{line}").and_then(|()| self.err.flush());
        self.is_clear = line.is_empty();
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.replace("");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_line_leaves_no_trace() {
        let mut err = Vec::new();
        let mut shown = Shown { err: &mut err, is_clear: true };
        for line in ["", "2 turns ahead", "1 turn ahead"] {
            shown.replace(line);
        }
        drop(shown);
        assert_eq!(err, b"\r\x1b[K2 turns ahead\r\x1b[K1 turn ahead\r\x1b[K");
    }
}
