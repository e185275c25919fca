//! The part of the registry that gives readers their entries and ids.

use std::{collections::HashSet, sync::Arc, time::Instant};

use cardbroker_core::slot::SlotName;
use tracing::{error, info, warn};

use super::{
    MAX_READERS, RETURN_TIME, Registry,
    entry::{Entry, Named},
    ids::free_id,
    update,
};
use crate::{
    process::random::fresh_id,
    reader::{self, Event, ReaderHandle, ReaderSetup},
};

/// The bits of a lease's number that count the leases of one reader. Enough for a lease each microsecond for years.
const LEASE_BITS: u32 = 48;

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
            handle.journal().rename(Arc::clone(&named.names));
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
        let alias = settings.alias.clone();
        let journal = self.settings.journals.journal(Named::new(id.to_owned(), slot.shown()).names);
        let (handle, requests) = ReaderHandle::new(journal, self.settings.limits, self.shutdown.clone());
        // Entries are never removed, so no other reader has this number.
        let number = self.readers.len() as u64;
        let setup = ReaderSetup {
            first_lease: number << LEASE_BITS,
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
        let (reported, unplugged, gone_since, has_published) = (None, false, None, false);
        let named = None;
        Some(Entry { named, handle, events, publisher, reported, unplugged, gone_since, alias, has_published })
    }

    /// Gives each alias whose reader has been unplugged for [`RETURN_TIME`] to the reader with the lowest number that
    /// fits, and finds out when to look again.
    pub(super) async fn hand_over(&mut self) {
        self.next_hand_over = None;
        let mut judged = HashSet::new();
        for (alias, _, slot) in self.numbered() {
            if !judged.insert(alias.clone()) {
                continue;
            }
            let holder = self.readers.values().find(|entry| entry.has_id(&alias));
            let Some(since) = holder.filter(|holder| holder.unplugged).and_then(|holder| holder.gone_since) else {
                continue;
            };
            let due = since + RETURN_TIME;
            if due <= Instant::now() {
                self.rename(&slot, alias).await;
            } else {
                self.next_hand_over = Some(self.next_hand_over.map_or(due, |next| next.min(due)));
            }
        }
    }

    /// The readers that are there under another id than their alias: alias, id and name, by number.
    fn numbered(&self) -> Vec<(String, String, SlotName)> {
        let present = self.readers.iter().filter(|(_, entry)| entry.reported.is_some());
        let numbered = present.filter_map(|(slot, entry)| {
            let (alias, id) = (entry.alias.clone()?, &entry.named.as_ref()?.names.id);
            (alias != *id).then(|| (alias, id.clone(), slot.clone()))
        });
        let mut numbered: Vec<_> = numbered.collect();
        numbered.sort_by(|(_, one, _), (_, other, _)| (one.len(), one).cmp(&(other.len(), other)));
        numbered
    }

    /// Gives a reader that is there another id. The view's watchers see both changes at once.
    async fn rename(&mut self, slot: &SlotName, id: String) {
        let Some(entry) = self.readers.get_mut(slot) else { return };
        let Some(before) = entry.named.take() else { return };
        info!(reader = %id, before = before.names.id, display_name = slot.shown(), "the reader has the alias now");
        entry.send(Event::Renamed(id.clone())).await;
        self.name(slot, id);
        self.routes.send_modify(|routes| drop(Arc::make_mut(routes).remove(&before.name)));
        let named = self.readers.get(slot).and_then(|entry| entry.named.clone());
        update(&self.view, |view| {
            let status = view.get(&before.name).map(|reader| reader.status.clone());
            view.apply(&before.name, &before.names, None);
            if let Some(Named { name, names }) = &named {
                view.apply(name, names, status);
            }
        });
    }
}
