//! The shell around the state: the connection, the terminal, the signals and the clock.

use std::{
    io,
    pin::Pin,
    time::{Duration, Instant},
};

use cardbroker_client::{
    Client, Error,
    diagnostics::{ReleaseOutcome, Status, WatchStatus},
};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, Sleep, interval, sleep},
};

use super::{
    Failure,
    console::{Console, Input, input},
    convert,
    signals::Signals,
    state::{Action, Event, Order, State},
    view::{Palette, draw},
};
use crate::{status, words::plain};

/// The time between two drawings while nothing else happens.
const TICK: Duration = Duration::from_secs(1);

/// The time between two attempts to connect, beside the client's own.
const PAUSE: Duration = Duration::from_millis(500);

/// Shows the broker on the full screen until the user quits, or a signal ends the program.
///
/// # Errors
/// The broker refuses the first state; or the terminal cannot be written.
pub(super) async fn run(client: &Client, mut state: State, palette: &Palette) -> Result<(), Failure> {
    let mut link = Link::new(client, &state);
    // A refusal is one line, without a full screen before it.
    let first = link.next().await.map_err(|error| Failure::operator(error, status::NEEDED))?;
    state.on(Event::Status(convert::snapshot(first)), Instant::now());
    let mut signals = Signals::new()?;
    let mut console = Console::enter()?;
    let mut input = input()?;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut releases = JoinSet::new();
    loop {
        let limit = console.draw(|frame| draw(&state, frame, palette))?;
        state.limit_scroll(limit);
        let event = tokio::select! {
            biased;
            is_end = signals.is_end() => {
                if is_end {
                    return Ok(());
                }
                console.enter_again()?;
                Event::Tick
            }
            input = input.recv() => match input {
                Some(Input::Key(key)) => Event::Key(key),
                Some(Input::Resized) => Event::Tick,
                // The terminal is gone.
                None => return Ok(()),
            },
            Some(Ok(released)) = releases.join_next() => released,
            status = link.next() => match status {
                Ok(status) => Event::Status(convert::snapshot(status)),
                Err(error) => Event::Lost(plain(&error.to_string())),
            },
            _ = ticks.tick() => Event::Tick,
        };
        match state.on(event, Instant::now()) {
            None => {}
            Some(Action::Quit) => return Ok(()),
            Some(Action::Redraw) => console.clear()?,
            Some(Action::Suspend) => suspend(&mut console, &mut signals).await?,
            Some(Action::Release(order)) => drop(releases.spawn(release(client.clone(), order))),
        }
    }
}

/// The stream of states, opened again after each loss.
struct Link {
    watch: WatchStatus,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Link {
    fn new(client: &Client, state: &State) -> Self {
        let watch = client.diagnostics().watch_status().interval(state.interval);
        let watch = match &state.only {
            Some(reader) => watch.at(reader.as_str()),
            None => watch,
        };
        Self { watch, pause: None }
    }

    /// The next state, or the reason why there is none. Cancel-safe.
    async fn next(&mut self) -> Result<Status, Error> {
        if let Some(pause) = &mut self.pause {
            pause.await;
            self.pause = None;
        }
        let status = self.watch.next().await;
        if status.is_err() {
            self.pause = Some(Box::pin(sleep(PAUSE)));
        }
        status
    }
}

/// Stops the process group, as Ctrl-Z does outside of the full screen, until the user's shell continues it.
async fn suspend(console: &mut Console, signals: &mut Signals) -> io::Result<()> {
    console.leave();
    signals.stop().await?;
    console.enter_again()
}

/// Releases a turn; returns what became of it.
async fn release(client: Client, order: Order) -> Event {
    let Order { reader, lease, reason } = order;
    match client.diagnostics().release(reader.as_str(), lease).reason(reason).send().await {
        Err(error) => Event::Released { told: format!("not released: {}", plain(&error.to_string())), is_good: false },
        Ok(released) => {
            let (told, is_good) = told(released.outcome());
            Event::Released { told: format!("{told}: {}", plain(&reader)), is_good }
        }
    }
}

/// An outcome in words, and whether the turn has ended or will end. Brokers newer than this program may have others.
fn told(outcome: ReleaseOutcome) -> (&'static str, bool) {
    match outcome {
        ReleaseOutcome::Pending => ("will be released when the driver call returns", true),
        ReleaseOutcome::Released => ("released", true),
        ReleaseOutcome::Unspecified => ("outcome of the release unknown", false),
    }
}

#[cfg(test)]
mod tests {
    use cardbroker_client::diagnostics::Released;

    use super::*;

    #[test]
    fn an_outcome_of_a_newer_broker_is_not_a_success() {
        let newer = Released { outcome: 99, ..Released::default() };
        assert_eq!(told(newer.outcome()), ("outcome of the release unknown", false));
        assert_eq!(told(ReleaseOutcome::Released), ("released", true));
    }
}
