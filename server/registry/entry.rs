//! A reader that was seen in this run of the broker, plugged in or not.

use std::{sync::Arc, time::Instant};

use cardbroker_core::{policy::ReaderNames, slot::SlotStatus};
use tokio::sync::mpsc;

use crate::reader::{Event, ReaderHandle, StatusPublisher};

/// One reader of the registry, by its name in the card stack. It is kept while the broker runs, because a reader never
/// gets a second card thread.
pub(super) struct Entry {
    /// The names for clients. `None` after another reader has taken the alias, until this one comes back.
    pub(super) named: Option<Named>,
    /// The handle for requests, of which the routes have a clone.
    pub(super) handle: ReaderHandle,
    /// To the actor: the monitor's statuses, outages and unplugging. Closed when the actor has ended.
    pub(super) events: mpsc::Sender<Event>,
    /// Publishes in place of an actor that has ended before the broker.
    pub(super) publisher: StatusPublisher,
    /// The last slot status sent to the actor; `None` after an event that the stack is down or the reader unplugged.
    pub(super) reported: Option<SlotStatus>,
    /// Whether the reader was unplugged. Set with the event for the actor, cleared when a poll shows the reader again.
    pub(super) unplugged: bool,
    /// When the reader was found to be missing; `None` while it is there.
    pub(super) gone_since: Option<Instant>,
    /// The alias of the reader's settings, which never change.
    pub(super) alias: Option<String>,
    /// Whether the actor has published a status since the start.
    pub(super) has_published: bool,
}

/// The beginning of the names of readers.
pub(crate) const READER_PREFIX: &str = "readers/";

/// The names of a reader for clients and rules.
#[derive(Clone)]
pub(super) struct Named {
    /// The name of the reader: `readers/{id}`.
    pub(super) name: Arc<str>,
    /// The id and the display name, by which policy rules match the reader.
    pub(super) names: Arc<ReaderNames>,
}

impl Named {
    pub(super) fn new(id: String, display_name: &str) -> Self {
        let name = format!("{READER_PREFIX}{id}").into();
        Self { name, names: Arc::new(ReaderNames { id, display_name: display_name.to_owned() }) }
    }
}

impl Entry {
    /// Whether the reader is called by this id.
    pub(super) fn has_id(&self, id: &str) -> bool {
        self.named.as_ref().is_some_and(|named| named.names.id == id)
    }

    /// Whether the reader is missing since the card stack came back: it may still be about to appear.
    pub(super) fn is_undecided(&self) -> bool {
        self.reported.is_none() && !self.unplugged
    }

    /// A poll has shown the reader.
    pub(super) fn on_seen(&mut self, status: SlotStatus) {
        self.reported = Some(status);
        self.unplugged = false;
        self.gone_since = None;
    }

    /// The reader is missing, or the card stack is.
    pub(super) fn on_missing(&mut self) {
        self.reported = None;
        self.gone_since.get_or_insert_with(Instant::now);
    }

    pub(super) async fn unplug(&mut self) {
        if !self.unplugged {
            self.unplugged = true;
            self.on_missing();
            if self.events.send(Event::Unplugged).await.is_err() {
                self.publisher.publish(None);
            }
        }
    }

    /// The actor receives events until it ends; later ones are not needed.
    pub(super) async fn send(&self, event: Event) {
        let _ = self.events.send(event).await;
    }
}
