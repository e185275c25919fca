//! The state behind the screen, and its reaction to events. Nothing here reads a clock or touches a terminal.

use std::time::{Duration, Instant, SystemTime};

use super::{
    dialog::Dialog,
    keys::Key,
    model::{Reader, Snapshot},
    order::{Sort, listed},
    rates::Rates,
};

/// How long a message stays on the screen.
const MESSAGE_TIME: Duration = Duration::from_secs(10);

/// Something that happened outside of the state.
#[derive(Debug)]
pub(super) enum Event {
    Key(Key),
    /// Time has passed, and nothing else has happened.
    Tick,
    /// The broker has sent a state.
    Status(Snapshot),
    /// There is no connection, for this reason; the shell tries again.
    Lost(String),
    /// A release has ended: what became of it, and whether that is what the user wanted.
    Released {
        told: String,
        is_good: bool,
    },
}

/// An order for the shell.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    Quit,
    /// Stop the process until the shell of the user continues it.
    Suspend,
    /// Draw everything again, after another program wrote to the terminal.
    Redraw,
    Release(Order),
}

/// A turn to release, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    /// The name of the reader: `readers/{id}`.
    pub(super) reader: String,
    /// The lease that was on the screen.
    pub(super) lease: String,
    /// The operator's reason, or empty.
    pub(super) reason: String,
}

/// The page that fills the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Page {
    List,
    /// The reader with this name.
    Reader(String),
}

/// A sentence at the bottom of the screen.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) text: String,
    pub(super) is_good: bool,
    end: Instant,
}

/// Everything that the screen shows.
#[derive(Debug)]
pub(super) struct State {
    /// The broker's address, for the title.
    pub(super) endpoint: String,
    /// The time between two states.
    pub(super) interval: Duration,
    /// The reader that the user has named: the only one, on its page.
    pub(super) only: Option<String>,
    pub(super) page: Page,
    /// The first line of a reader's page that is visible.
    pub(super) scroll: usize,
    pub(super) dialog: Option<Dialog>,
    pub(super) filter: String,
    pub(super) sort: Sort,
    pub(super) message: Option<Message>,
    /// Why there is no connection, and since when.
    pub(super) lost: Option<(String, Instant)>,
    pub(super) is_paused: bool,
    pub(super) shown: Option<(Snapshot, Instant)>,
    /// The latest state, while another one is shown.
    pub(super) latest: Option<(Snapshot, Instant)>,
    pub(super) selected: Option<String>,
    rates: Rates,
    pub(super) now: Instant,
    /// The end of the time that the screen shows, while it stands still.
    pub(super) stopped: Option<Instant>,
}

impl State {
    pub(super) fn new(endpoint: String, only: Option<String>, interval: Duration, now: Instant) -> Self {
        Self {
            endpoint,
            interval,
            page: only.clone().map_or(Page::List, Page::Reader),
            only,
            scroll: 0,
            dialog: None,
            filter: String::new(),
            sort: Sort::default(),
            message: None,
            lost: None,
            is_paused: false,
            shown: None,
            latest: None,
            selected: None,
            rates: Rates::default(),
            now,
            stopped: None,
        }
    }

    /// Takes an event into account. Returns an order for the shell if there is one.
    pub(super) fn on(&mut self, event: Event, now: Instant) -> Option<Action> {
        self.now = now;
        self.message.take_if(|message| message.end <= now);
        match event {
            Event::Key(key) => return self.on_key(key),
            Event::Tick => {}
            Event::Status(snapshot) => self.on_status(snapshot),
            Event::Lost(why) => {
                let since = self.lost.take().map_or(now, |(_, since)| since);
                self.lost = Some((why, since));
                self.stopped.get_or_insert(now);
            }
            Event::Released { told, is_good } => self.tell(told, is_good),
        }
        None
    }

    /// Keeps the page of a reader from scrolling below its end; the view knows how long it is.
    pub(super) fn limit_scroll(&mut self, limit: usize) {
        self.scroll = self.scroll.min(limit);
    }

    /// The state that is shown.
    pub(super) fn snapshot(&self) -> Option<&Snapshot> {
        self.shown.as_ref().map(|(snapshot, _)| snapshot)
    }

    /// The moment that is shown, by the broker's clock. It stands still in a pause, and without a connection.
    pub(super) fn moment(&self) -> SystemTime {
        let Some((snapshot, received)) = &self.shown else { return SystemTime::UNIX_EPOCH };
        let until = self.stopped.unwrap_or(self.now);
        let elapsed = until.saturating_duration_since(*received);
        snapshot.now.checked_add(elapsed).unwrap_or(snapshot.now)
    }

    /// How long the connection has been lost.
    pub(super) fn lost_for(&self) -> Option<Duration> {
        Some(self.now.saturating_duration_since(self.lost.as_ref()?.1))
    }

    /// The readers of the list, in order.
    pub(super) fn listed(&self) -> Vec<&Reader> {
        let snapshot = self.snapshot();
        snapshot.map(|snapshot| listed(snapshot, &self.filter, self.sort, self.moment())).unwrap_or_default()
    }

    /// The place of the selected reader in `listed`.
    pub(super) fn selected(&self, listed: &[&Reader]) -> usize {
        listed.iter().position(|reader| Some(&reader.name) == self.selected.as_ref()).unwrap_or_default()
    }

    /// The reader with this name.
    pub(super) fn reader(&self, name: &str) -> Option<&Reader> {
        self.snapshot()?.readers.iter().find(|reader| reader.name == name)
    }

    /// The reader of the page, or the selected one of the list.
    pub(super) fn current(&self) -> Option<&Reader> {
        match &self.page {
            Page::Reader(name) => self.reader(name),
            Page::List => {
                let listed = self.listed();
                listed.get(self.selected(&listed)).copied()
            }
        }
    }

    fn on_status(&mut self, mut snapshot: Snapshot) {
        self.rates.on_status(&mut snapshot);
        self.lost = None;
        if self.is_paused {
            self.latest = Some((snapshot, self.now));
        } else {
            self.stopped = None;
            self.shown = Some((snapshot, self.now));
        }
    }

    pub(super) fn tell(&mut self, text: String, is_good: bool) {
        self.message = Some(Message { text, is_good, end: self.now + MESSAGE_TIME });
    }
}

#[cfg(test)]
mod tests;
