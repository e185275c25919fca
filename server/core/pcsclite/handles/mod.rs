//! The handles of PC/SC programs: share modes, transactions, and the news of resets.
//!
//! A handle is a program's connection to a card. It needs a turn for a transaction, for a single command, and all the
//! time if it is exclusive; the shell asks the broker for the turn and reports it here. A process never waits for its
//! own handles, because a client library that waits stops all threads of its process.
//!
//! ```text
//!             begin, transmit            turn          end, idle, revoked
//!   Connected ───────────────▶ (waits) ───────▶ Turn ───────────────────▶ Connected
//!       │                                        │ end: rests with depth 0
//!       └──────────── news (reset, removed): every call until Reconnect gets the code
//! ```

mod known;
mod terms;
mod turns;

use std::{collections::BTreeMap, hash::Hash, sync::Arc};

use self::known::Known;
pub use self::{
    known::Card,
    terms::{Connected, ExclusiveRule, HandleLimits, PcscDisposition, ShareMode},
    turns::{Ask, End},
};
use super::{code::Code, reader_states::EXCLUSIVE};
use crate::turns::places::Places;

/// The parts of a handle that a failed reconnect leaves unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    share: ShareMode,
    protocol: u32,
    insertion: String,
    known: Known,
}

#[derive(Debug)]
struct Handle<U> {
    at: Connected<U>,
    /// The number of open transactions, one inside the other.
    depth: u32,
    /// Whether the handle has a turn at the reader.
    has_turn: bool,
    known: Known,
}

/// All handles of one door.
#[derive(Debug)]
pub struct Handles<U> {
    places: Places<U>,
    handles: BTreeMap<u32, Handle<U>>,
    /// The number of resets of each reader's card, as last seen.
    resets: BTreeMap<Arc<str>, u64>,
}

impl<U: Clone + Eq + Hash> Handles<U> {
    /// Creates a table without any handles.
    pub fn new(limits: HandleLimits) -> Self {
        let places = Places::with_per_user(limits.total, limits.per_user);
        Self { places, handles: BTreeMap::new(), resets: BTreeMap::new() }
    }

    /// The handle `id` of `context`, which may be another's or none.
    pub fn get(&self, context: u32, id: u32) -> Option<&Connected<U>> {
        self.handles.get(&id).map(|handle| &handle.at).filter(|at| at.context == context)
    }

    /// Whether there is a handle of this number.
    pub fn contains(&self, id: u32) -> bool {
        self.handles.contains_key(&id)
    }

    /// Connects a new handle under the number `id`, which must be free.
    ///
    /// # Errors
    /// [`Code::SHARING_VIOLATION`] if another handle excludes it, [`Code::NO_MEMORY`] if there are too many.
    pub fn connect(&mut self, id: u32, at: Connected<U>) -> Result<(), Code> {
        if self.conflicts(&at, at.share, None) {
            return Err(Code::SHARING_VIOLATION);
        }
        self.places.take(at.user.clone(), 1).map_err(|_| Code::NO_MEMORY)?;
        let known = Known::new(at.insertion.clone(), self.resets_of(&at.reader));
        self.handles.insert(id, Handle { at, depth: 0, has_turn: false, known });
        Ok(())
    }

    /// Records the number of resets of the card in `reader`, by any program.
    pub fn see_resets(&mut self, reader: &Arc<str>, resets: u64) {
        if self.resets.get(reader) != Some(&resets) {
            self.resets.insert(Arc::clone(reader), resets);
        }
    }

    /// The handle gets this code from now on, until it reconnects.
    pub fn tell(&mut self, id: u32, code: Code) {
        if let Some(handle) = self.handles.get_mut(&id) {
            handle.known.tell(code);
        }
    }

    /// The answer to a query of the handle's state.
    pub fn status(&mut self, id: u32, insertion: &str) -> Code {
        self.judge(id, insertion).err().unwrap_or(Code::SUCCESS)
    }

    /// Changes the share mode and the protocol of the handle, and acknowledges resets and removals. Its transactions
    /// stay.
    ///
    /// # Errors
    /// [`Code::SHARING_VIOLATION`] if another handle excludes the new share mode. The handle is as before then.
    pub fn reconnect(&mut self, id: u32, share: ShareMode, protocol: u32, insertion: &str) -> Result<Before, Code> {
        let Some(handle) = self.handles.get(&id) else { return Err(Code::INVALID_HANDLE) };
        if self.conflicts(&handle.at, share, Some(id)) {
            return Err(Code::SHARING_VIOLATION);
        }
        let resets = self.resets_of(&handle.at.reader);
        let Some(handle) = self.handles.get_mut(&id) else { return Err(Code::INVALID_HANDLE) };
        let before = Before {
            share: std::mem::replace(&mut handle.at.share, share),
            protocol: std::mem::replace(&mut handle.at.protocol, protocol),
            insertion: std::mem::replace(&mut handle.at.insertion, insertion.to_owned()),
            known: handle.known.clone(),
        };
        handle.known.acknowledge(insertion.to_owned(), resets);
        Ok(before)
    }

    /// The reconnect has failed after all: the handle knows about its card what it knew `before`, so it gets the news
    /// of each change since, except that it keeps news that it has got meanwhile.
    pub fn undo_reconnect(&mut self, id: u32, before: Before) {
        if let Some(handle) = self.handles.get_mut(&id) {
            (handle.at.share, handle.at.protocol) = (before.share, before.protocol);
            handle.at.insertion = before.insertion;
            handle.known.undo(before.known);
        }
    }

    /// Removes the handle, if there is one.
    pub fn disconnect(&mut self, id: u32) {
        if let Some(handle) = self.handles.remove(&id) {
            self.places.give_back(handle.at.user, 1);
        }
    }

    /// The handles of a context.
    pub fn of_context(&self, context: u32) -> Vec<u32> {
        let own = self.handles.iter().filter(|(_, handle)| handle.at.context == context);
        own.map(|(id, _)| *id).collect()
    }

    /// Whether the effects of the handle's commands are in the card of this insertion, which was reset this number of
    /// times: nobody has reset it since the last of them.
    pub fn has_effect(&self, id: u32, insertion: &str, resets: u64) -> bool {
        self.handles.get(&id).is_some_and(|handle| handle.known.has_effect(insertion, resets))
    }

    /// Whether the handle has got news of a change, and has not reconnected since.
    pub fn has_news(&self, id: u32) -> bool {
        self.handles.get(&id).is_some_and(|handle| handle.known.told().is_some())
    }

    /// The reader of an exclusive handle; `None` for another one.
    pub fn exclusive_reader(&self, id: u32) -> Option<Arc<str>> {
        let exclusive = self.handles.get(&id).filter(|handle| handle.at.share == ShareMode::Exclusive);
        exclusive.map(|handle| Arc::clone(&handle.at.reader))
    }

    /// Sets the bit of the handle's protocol.
    pub fn set_protocol(&mut self, id: u32, protocol: u32) {
        if let Some(handle) = self.handles.get_mut(&id) {
            handle.at.protocol = protocol;
        }
    }

    /// The number of the process's handles at the reader, or [`EXCLUSIVE`] if one of them is exclusive.
    pub fn sharing(&self, process: u64, reader: &str) -> i32 {
        let own = self.handles.values().filter(|handle| handle.at.process == process && &*handle.at.reader == reader);
        own.fold(0, |sum, handle| match handle.at.share {
            ShareMode::Exclusive => EXCLUSIVE,
            _ if sum == EXCLUSIVE => EXCLUSIVE,
            _ => sum.saturating_add(1),
        })
    }

    /// The bit of the protocol that the process's handles have agreed on with this insertion of the reader's card; 0
    /// without such a handle.
    pub fn protocol(&self, process: u64, reader: &str, insertion: &str) -> u32 {
        let is_own = |handle: &&Handle<U>| handle.at.process == process && &*handle.at.reader == reader;
        let mut own = self.handles.values().filter(is_own).filter(|handle| handle.known.is_of(insertion));
        own.find_map(|handle| (handle.at.protocol != 0).then_some(handle.at.protocol)).unwrap_or_default()
    }

    fn resets_of(&self, reader: &Arc<str>) -> u64 {
        self.resets.get(reader).copied().unwrap_or_default()
    }

    fn judge(&mut self, id: u32, insertion: &str) -> Result<(), Code> {
        let Some(handle) = self.handles.get_mut(&id) else { return Err(Code::INVALID_HANDLE) };
        let resets = self.resets.get(&handle.at.reader).copied().unwrap_or_default();
        handle.known.judge(insertion, resets)
    }

    /// Whether another handle excludes one `at` its reader with this share mode.
    fn conflicts(&self, at: &Connected<U>, share: ShareMode, except: Option<u32>) -> bool {
        self.handles.iter().any(|(id, handle)| {
            Some(*id) != except
                && handle.at.reader == at.reader
                && (at.rule == ExclusiveRule::Strict || handle.at.process == at.process)
                && (share == ShareMode::Exclusive || handle.at.share == ShareMode::Exclusive)
        })
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod selections;
#[cfg(test)]
mod tests;
