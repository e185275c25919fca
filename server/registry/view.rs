//! The readers at one moment, and the changes since an earlier one. The registry applies events, and the rules decide
//! which readers are visible.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use cardbroker_core::{policy::ReaderNames, status::ReaderStatus};

/// Maximum removals that a view remembers. A watcher that has missed more than these gets all readers instead of a
/// change.
const MAX_REMOVALS: usize = 1024;

/// A reader as clients see it.
#[derive(Debug, PartialEq, Eq)]
pub struct ReaderView {
    /// The name of the reader: `readers/{id}`.
    pub name: Arc<str>,
    /// The names by which policy rules match it.
    pub names: Arc<ReaderNames>,
    /// The status that its actor has published last.
    pub status: ReaderStatus,
    /// The view's generation when the reader was found, or came back.
    appeared: u64,
    /// The view's generation at the reader's last change.
    changed: u64,
}

/// All readers, and the last removals.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The number of changes so far.
    generation: u64,
    /// The number of readers that came or went so far.
    moves: u64,
    readers: BTreeMap<Arc<str>, Arc<ReaderView>>,
    /// From old to new, at most [`MAX_REMOVALS`].
    removals: VecDeque<Removal>,
    /// The generation of the latest forgotten removal; 0 while there is none.
    forgotten: u64,
}

#[derive(Debug, Clone)]
struct Removal {
    name: Arc<str>,
    names: Arc<ReaderNames>,
    appeared: u64,
    removed: u64,
}

/// The changes for one watcher. Each reader appears at most once.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Readers that are new to the watcher or have changed, ordered by name.
    pub updated: Vec<Arc<ReaderView>>,
    /// Names of readers that were removed or are no longer visible, ordered.
    pub removed: Vec<Arc<str>>,
}

impl Difference {
    /// Whether nothing has changed for the watcher.
    pub fn is_empty(&self) -> bool {
        self.updated.is_empty() && self.removed.is_empty()
    }
}

impl View {
    /// The generation, which grows by one with each change of a reader.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The number of readers that came or went so far.
    pub fn moves(&self) -> u64 {
        self.moves
    }

    /// Iterates over the readers, ordered by name.
    pub fn readers(&self) -> impl Iterator<Item = &Arc<ReaderView>> {
        self.readers.values()
    }

    /// Returns the reader of this name, `readers/{id}`.
    pub fn get(&self, name: &str) -> Option<&Arc<ReaderView>> {
        self.readers.get(name)
    }

    /// Replaces a reader's status, or removes the reader. An equal status is no change.
    pub(super) fn apply(&mut self, name: &Arc<str>, names: &Arc<ReaderNames>, status: Option<ReaderStatus>) {
        let before = self.readers.get(name);
        if before.map(|reader| &reader.status) == status.as_ref() {
            return;
        }
        self.generation += 1;
        self.moves += u64::from(before.is_some() != status.is_some());
        let appeared = before.map_or(self.generation, |reader| reader.appeared);
        let (name, names) = (Arc::clone(name), Arc::clone(names));
        if let Some(status) = status {
            let reader = ReaderView { name: Arc::clone(&name), names, status, appeared, changed: self.generation };
            self.readers.insert(name, Arc::new(reader));
            return;
        }
        self.readers.remove(&name);
        self.removals.push_back(Removal { name, names, appeared, removed: self.generation });
        if self.removals.len() > MAX_REMOVALS {
            self.forgotten = self.removals.pop_front().map_or(self.forgotten, |removal| removal.removed);
        }
    }

    /// Returns the changes since the view of `generation`; `None` if too many readers were removed since then. `saw`
    /// tells which readers the watcher could see at that generation (`None`: the same as now), `sees` which ones now.
    pub fn since(
        &self,
        generation: u64,
        saw: Option<&dyn Fn(&ReaderNames) -> bool>,
        sees: &dyn Fn(&ReaderNames) -> bool,
    ) -> Option<Difference> {
        if generation < self.forgotten {
            return None;
        }
        let mut difference = Difference::default();
        if generation == self.generation && saw.is_none() {
            return Some(difference);
        }
        let knew = |appeared, names: &ReaderNames| appeared <= generation && saw.unwrap_or(sees)(names);
        for reader in self.readers.values() {
            let has_changed = reader.changed > generation;
            if !has_changed && saw.is_none() {
                continue;
            }
            match (knew(reader.appeared, &reader.names), sees(&reader.names)) {
                (was_known, true) if has_changed || !was_known => difference.updated.push(Arc::clone(reader)),
                (true, false) => difference.removed.push(Arc::clone(&reader.name)),
                _ => {}
            }
        }
        for removal in self.removals.iter().rev().take_while(|removal| removal.removed > generation) {
            // A reader that is back is among the updated ones.
            let is_back = self.readers.contains_key(&removal.name) && sees(&removal.names);
            if knew(removal.appeared, &removal.names) && !is_back {
                difference.removed.push(Arc::clone(&removal.name));
            }
        }
        difference.removed.sort();
        Some(difference)
    }
}

#[cfg(test)]
mod tests;
