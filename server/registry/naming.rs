//! The part of the registry that gives readers their entries and ids.

use std::sync::Arc;

use cardbroker_core::slot::SlotName;
use tracing::{error, info, warn};

use super::{
    MAX_READERS, Registry,
    entry::{Entry, Named},
    ids::free_id,
    update,
};
use crate::{
    process::random::fresh_id,
    reader::{self, Event, ReaderHandle, ReaderSetup},
};

impl Registry {
    /// Returns the reader's entry, with a name; creates it, with its actor, for a new reader. `None` if the reader
    /// cannot be served, or must wait for its id.
    pub(super) async fn entry(&mut self, slot: &SlotName) -> Option<&mut Entry> {
        if self.readers.get(slot).is_none_or(|entry| entry.named.is_none()) {
            let alias = (self.settings.reader)(slot.shown()).alias;
            let id = self.choose_id(slot, alias.as_deref())?;
            if !self.readers.contains_key(slot) {
                let entry = self.new_entry(slot, &id)?;
                self.readers.insert(slot.clone(), entry);
            } else if let Some(entry) = self.readers.get(slot) {
                info!(reader = %id, display_name = slot.shown(), "reader found, with another id than before");
                entry.send(Event::Renamed(id.clone())).await;
            }
            self.name(slot, id);
        }
        self.readers.get_mut(slot)
    }

    /// Chooses a free id. With an alias, an id is also free if its reader is missing: the alias follows the reader
    /// that is there. `None` if that reader may come back at once, see [`RETURN_TIME`].
    fn choose_id(&self, slot: &SlotName, alias: Option<&str>) -> Option<String> {
        let is_missing = |entry: &Entry| entry.reported.is_none();
        let is_taken =
            |id: &str| self.readers.values().any(|entry| entry.has_id(id) && !(alias.is_some() && is_missing(entry)));
        let id = free_id(slot, alias, is_taken);
        let may_return = alias.is_some() && self.back_since.is_some();
        (!may_return || !self.readers.values().any(|entry| entry.has_id(&id) && entry.is_undecided())).then_some(id)
    }

    /// Gives the reader its name, and takes that from the reader that had it.
    fn name(&mut self, slot: &SlotName, id: String) {
        if let Some(before) = self.readers.values_mut().find(|entry| entry.has_id(&id)) {
            let Some(Named { name, names }) = before.named.take() else { return };
            info!(reader = %id, before = names.display_name, now = slot.shown(), "the alias has another reader now");
            update(&self.view, |view| view.apply(&name, &names, None));
        }
        if let Some(entry) = self.readers.get_mut(slot) {
            let named = Named::new(id, slot.shown());
            let handle = entry.handle.clone();
            self.routes.send_modify(|routes| drop(Arc::make_mut(routes).insert(Arc::clone(&named.name), handle)));
            entry.named = Some(named);
        }
    }

    fn new_entry(&mut self, slot: &SlotName, id: &str) -> Option<Entry> {
        if self.readers.len() >= MAX_READERS {
            warn!(display_name = slot.shown(), "reader not served: there are {MAX_READERS} readers already");
            return None;
        }
        let settings = (self.settings.reader)(slot.shown());
        // Random and not a sequence number, which would reveal readers that a caller may not see.
        let unique = match fresh_id() {
            Ok(unique) => unique,
            Err(error) => {
                error!(reader = %id, %error, "reader not served: the system cannot provide random bytes");
                return None;
            }
        };
        let (handle, requests) = ReaderHandle::new(self.settings.limits, self.shutdown.clone());
        let setup = ReaderSetup {
            identity: format!("{}-{unique}", self.settings.epoch),
            settings,
            limits: self.settings.limits,
            turns: self.settings.turns,
            policy: self.settings.policy.clone(),
            slot: self.backend.slot(slot),
            publisher: self.statuses.publisher(slot),
            turns_moved: self.settings.turns_moved.clone(),
            requests,
            shutdown: self.shutdown.clone(),
            id: id.to_owned(),
        };
        info!(reader = %id, display_name = slot.shown(), "reader found");
        let events = match reader::spawn(setup, &self.actors) {
            Ok(events) => events,
            Err(error) => {
                error!(reader = %id, %error, "reader not served: its card thread could not start");
                return None;
            }
        };
        let publisher = self.statuses.publisher(slot);
        let (reported, unplugged, has_published) = (None, false, false);
        Some(Entry { named: None, handle, events, publisher, reported, unplugged, has_published })
    }
}
