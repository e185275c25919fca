//! The messages that the service manager has not taken yet: at most two, however slow it reads.

/// A message that has to arrive, unless a later one makes it needless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// Set by [`Pending`]: tells a message from the one that has replaced it.
    number: u64,
    /// The state, as the service manager's own lines; empty for a status line alone.
    state: String,
    /// The status line, as the service manager's own line; empty without one.
    status: String,
}

impl Message {
    pub(super) fn text(&self) -> String {
        format!("{}{}", self.state, self.status)
    }
}

/// The messages that were not sent yet. A reload goes before its end; each other message replaces the one
/// before.
#[derive(Debug, Default)]
pub(super) struct Pending {
    told: u64,
    reloading: Option<Message>,
    latest: Option<Message>,
}

impl Pending {
    /// The configuration is being read again. A state must follow, so one that waits is needless.
    pub(super) fn reloading(&mut self, state: String) {
        self.latest = None;
        self.reloading = Some(self.message(state, String::new()));
    }

    /// Replaces the state by the one of a broker that serves.
    pub(super) fn ready(&mut self, state: String, status: String) {
        self.latest = Some(self.message(state, status));
    }

    /// The broker stops: the last state.
    pub(super) fn stopping(&mut self, state: String, status: String) {
        self.reloading = None;
        self.latest = Some(self.message(state, status));
    }

    /// Another status line, in the state of before.
    pub(super) fn status(&mut self, status: String) {
        let state = self.latest.take().map(|waiting| waiting.state).unwrap_or_default();
        self.latest = Some(self.message(state, status));
    }

    /// The message to send now: the older one.
    pub(super) fn next(&self) -> Option<Message> {
        self.reloading.as_ref().or(self.latest.as_ref()).cloned()
    }

    /// Forgets a message that was sent, unless a later one has replaced it meanwhile.
    pub(super) fn on_sent(&mut self, message: &Message) {
        for place in [&mut self.reloading, &mut self.latest] {
            if place.as_ref().is_some_and(|waiting| waiting.number == message.number) {
                *place = None;
            }
        }
    }

    fn message(&mut self, state: String, status: String) -> Message {
        self.told += 1;
        Message { number: self.told, state, status }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> String {
        text.to_owned()
    }

    fn sent(pending: &mut Pending) -> Vec<String> {
        std::iter::from_fn(|| {
            let message = pending.next()?;
            pending.on_sent(&message);
            Some(message.text())
        })
        .collect()
    }

    #[test]
    fn a_state_outlives_all_later_status_lines() {
        let mut pending = Pending::default();
        pending.ready(text("READY "), text("0"));
        (1..1_000).for_each(|number| pending.status(number.to_string()));
        assert_eq!(sent(&mut pending), ["READY 999"]);
        pending.status(text("a"));
        pending.status(text("b"));
        assert_eq!(sent(&mut pending), ["b"]);
        assert_eq!(pending.next(), None);
    }

    #[test]
    fn a_reload_precedes_its_end_and_a_stop_replaces_both() {
        let mut pending = Pending::default();
        for _ in 0..100 {
            pending.ready(text("READY "), text("0"));
            pending.reloading(text("RELOADING"));
            pending.ready(text("READY "), text("1"));
        }
        assert_eq!(sent(&mut pending), ["RELOADING", "READY 1"]);
        pending.reloading(text("RELOADING"));
        pending.ready(text("READY "), text("2"));
        pending.stopping(text("STOPPING "), text("stopping"));
        assert_eq!(sent(&mut pending), ["STOPPING stopping"]);
    }

    #[test]
    fn a_message_that_was_replaced_while_it_was_sent_is_sent_again() {
        let mut pending = Pending::default();
        pending.ready(text("READY "), text("0"));
        let under_way = pending.next().unwrap();
        pending.status(text("1"));
        pending.on_sent(&under_way);
        // The state once more does no harm.
        assert_eq!(sent(&mut pending), ["READY 1"]);
        pending.reloading(text("RELOADING"));
        let under_way = pending.next().unwrap();
        pending.reloading(text("RELOADING again"));
        pending.on_sent(&under_way);
        assert_eq!(sent(&mut pending), ["RELOADING again"]);
    }
}
