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

use std::{collections::BTreeMap, hash::Hash, sync::Arc};

pub use self::known::Card;
use self::known::Known;
use super::{code::Code, reader_states::EXCLUSIVE};
use crate::{slot::ResetKind, turns::places::Places};

/// The share mode of one handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// No other handle may use the card.
    Exclusive,
    /// Handles take turns at the card.
    Shared,
    /// The reader, with or without a card.
    Direct,
}

impl Share {
    /// The share mode of this number in PC/SC.
    pub fn new(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Exclusive),
            2 => Some(Self::Shared),
            3 => Some(Self::Direct),
            _ => None,
        }
    }
}

/// The effect of an exclusive handle on handles of other processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ExclusiveRule {
    /// They may connect, and wait for their turn.
    #[default]
    Virtual,
    /// They are refused, as pcscd does.
    Strict,
}

/// The state in which a program wants to leave the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disposition(pub Option<ResetKind>);

impl Disposition {
    /// The disposition of this number in PC/SC. A reader that cannot eject cuts the power instead.
    pub fn new(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self(None)),
            1 => Some(Self(Some(ResetKind::Warm))),
            2 | 3 => Some(Self(Some(ResetKind::Cold))),
            _ => None,
        }
    }
}

/// The parts of a handle that a failed reconnect leaves unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    share: Share,
    protocol: u32,
    told: Option<Code>,
}

/// The limits on the number of handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum handles of all users together.
    pub total: u64,
    /// Maximum handles of one user.
    pub per_user: u64,
}

/// The owner of a handle, and what it is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected<U> {
    /// The user, whose handles are counted together.
    pub user: U,
    /// The number of the program's process.
    pub process: u64,
    /// The context that the handle belongs to.
    pub context: u32,
    /// The broker's name of the reader, `readers/{id}`.
    pub reader: Arc<str>,
    /// The share mode, which a reconnect may change.
    pub share: Share,
    /// The bit of the protocol in use; 0 without one.
    pub protocol: u32,
    /// The id of the insertion; empty without a card.
    pub insertion: String,
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

/// The need of a call for a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// The answer is known now.
    Answer(Code),
    /// The handle has its turn already.
    Ready,
    /// A turn must be requested first.
    Turn,
}

/// The outcome of the end of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The answer to the request.
    pub code: Code,
    /// Whether the handle was in a transaction.
    pub was_open: bool,
    /// Whether the outermost transaction has ended, so that the turn may end.
    pub is_last: bool,
}

impl End {
    fn refused(code: Code) -> Self {
        Self { code, was_open: false, is_last: false }
    }
}

/// All handles of one door.
#[derive(Debug)]
pub struct Handles<U> {
    rule: ExclusiveRule,
    places: Places<U>,
    handles: BTreeMap<u32, Handle<U>>,
    /// The number of resets of each reader's card, as last seen.
    resets: BTreeMap<Arc<str>, u64>,
}

impl<U: Clone + Eq + Hash> Handles<U> {
    /// Creates a table without any handles.
    pub fn new(rule: ExclusiveRule, limits: Limits) -> Self {
        let places = Places::with_per_user(limits.total, limits.per_user);
        Self { rule, places, handles: BTreeMap::new(), resets: BTreeMap::new() }
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

    /// The card in `reader` has been reset so many times, by whomever.
    pub fn see_resets(&mut self, reader: &Arc<str>, resets: u64) {
        self.resets.insert(Arc::clone(reader), resets);
    }

    /// Begins a transaction of the handle. `insertion` is the id of the reader's insertion now.
    /// After [`Ask::Ready`] the transaction has begun; after [`Ask::Turn`] it begins with [`Handles::on_turn`].
    pub fn begin(&mut self, id: u32, insertion: &str) -> Ask {
        let ask = self.ask(id, insertion);
        if ask == Ask::Ready
            && let Some(handle) = self.handles.get_mut(&id)
        {
            handle.depth = handle.depth.saturating_add(1);
        }
        ask
    }

    /// Whether the handle may send a command, or needs a turn for it.
    pub fn ask(&mut self, id: u32, insertion: &str) -> Ask {
        if let Err(code) = self.judge(id, insertion) {
            return Ask::Answer(code);
        }
        match self.handles.get(&id) {
            None => Ask::Answer(Code::INVALID_HANDLE),
            Some(handle) if handle.has_turn => Ask::Ready,
            Some(handle) if self.is_held_in_process(&handle.at, id) => Ask::Answer(Code::SHARING_VIOLATION),
            Some(_) => Ask::Turn,
        }
    }

    /// The turn of the handle has come, with the card in this state. `begins`: for a transaction. `selects`: its first
    /// command selects an application by name; `None` if that command is not known yet.
    ///
    /// # Errors
    /// The code for the handle's calls from now on. The handle has its turn nevertheless.
    pub fn on_turn(&mut self, id: u32, card: &Card, begins: bool, selects: Option<bool>) -> Result<(), Code> {
        let Some(handle) = self.handles.get_mut(&id) else { return Err(Code::INVALID_HANDLE) };
        self.resets.insert(Arc::clone(&handle.at.reader), card.resets);
        handle.has_turn = true;
        handle.known.on_turn(card, selects)?;
        handle.depth = handle.depth.saturating_add(u32::from(begins));
        Ok(())
    }

    /// A command of the handle is about to be sent in its turn. `selects`: it selects an application by name.
    ///
    /// # Errors
    /// [`Code::RESET_CARD`] if another program has selected its own application, for which this command is not meant.
    /// It must not be sent.
    pub fn on_command(&mut self, id: u32, selects: bool) -> Result<(), Code> {
        self.handles.get_mut(&id).map_or(Err(Code::INVALID_HANDLE), |handle| handle.known.on_command(selects))
    }

    /// A command of the handle may have reached the card. `selects`: it selects an application by name.
    pub fn on_sent(&mut self, id: u32, selects: bool) {
        if let Some(handle) = self.handles.get_mut(&id) {
            handle.known.on_sent(selects);
        }
    }

    /// The handle has had its card reset in its turn, which makes `resets` resets. The handle itself gets the news
    /// unless it `acknowledges` the reset by that.
    pub fn on_reset(&mut self, id: u32, resets: u64, acknowledges: bool) {
        let Some(handle) = self.handles.get_mut(&id) else { return };
        self.resets.insert(Arc::clone(&handle.at.reader), resets);
        if acknowledges {
            handle.known.acknowledge(handle.at.insertion.clone(), resets);
        } else {
            handle.known.tell(Code::RESET_CARD);
        }
    }

    /// The turn of the handle has ended, with its transactions. `selection` is the card's number of selections then.
    pub fn on_turn_over(&mut self, id: u32, selection: u64) {
        if let Some(handle) = self.handles.get_mut(&id) {
            (handle.has_turn, handle.depth) = (false, 0);
            handle.known.on_turn_over(selection);
        }
    }

    /// The handle gets this code from now on, until it reconnects.
    pub fn tell(&mut self, id: u32, code: Code) {
        if let Some(handle) = self.handles.get_mut(&id) {
            handle.known.tell(code);
        }
    }

    /// Ends a transaction. The transaction ends even if the code is an error, except for a handle without one.
    pub fn end(&mut self, id: u32, insertion: &str) -> End {
        let judged = self.judge(id, insertion);
        let Some(handle) = self.handles.get_mut(&id) else { return End::refused(Code::INVALID_HANDLE) };
        if handle.depth == 0 {
            let at = handle.at.clone();
            let code = match judged {
                Err(code) => code,
                Ok(()) if self.is_held_in_process(&at, id) => Code::SHARING_VIOLATION,
                Ok(()) => Code::NOT_TRANSACTED,
            };
            return End::refused(code);
        }
        handle.depth -= 1;
        End { code: judged.err().unwrap_or(Code::SUCCESS), was_open: true, is_last: handle.depth == 0 }
    }

    /// The answer to a query of the handle's state.
    pub fn status(&mut self, id: u32, insertion: &str) -> Code {
        self.judge(id, insertion).err().unwrap_or(Code::SUCCESS)
    }

    /// Changes the share mode and the protocol of the handle, and acknowledges resets and removals. Its transactions
    /// stay.
    ///
    /// # Errors
    /// [`Code::SHARING_VIOLATION`] if another handle excludes the new share mode. Share mode, protocol and news are as
    /// before then.
    pub fn reconnect(&mut self, id: u32, share: Share, protocol: u32, insertion: &str) -> Result<Before, Code> {
        let Some(handle) = self.handles.get(&id) else { return Err(Code::INVALID_HANDLE) };
        if self.conflicts(&handle.at, share, Some(id)) {
            return Err(Code::SHARING_VIOLATION);
        }
        let before = Before { share: handle.at.share, protocol: handle.at.protocol, told: handle.known.told() };
        let resets = self.resets_of(&handle.at.reader);
        if let Some(handle) = self.handles.get_mut(&id) {
            (handle.at.share, handle.at.protocol) = (share, protocol);
            handle.at.insertion = insertion.to_owned();
            handle.known.acknowledge(insertion.to_owned(), resets);
        }
        Ok(before)
    }

    /// The reconnect has failed after all: the handle is again as it was `before`, with its news.
    pub fn undo_reconnect(&mut self, id: u32, before: Before) {
        if let Some(handle) = self.handles.get_mut(&id) {
            (handle.at.share, handle.at.protocol) = (before.share, before.protocol);
            if let Some(code) = before.told {
                handle.known.tell(code);
            }
        }
    }

    /// Whether the handle's own process keeps a turn at the same reader, for which the handle must not wait.
    pub fn is_own_process_busy(&self, id: u32) -> bool {
        self.handles.get(&id).is_some_and(|handle| !handle.has_turn && self.is_held_in_process(&handle.at, id))
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

    /// Whether the handle keeps its turn: it is exclusive, or in a transaction.
    pub fn keeps_turn(&self, id: u32) -> bool {
        self.handles.get(&id).is_some_and(|handle| handle.at.share == Share::Exclusive || handle.depth > 0)
    }

    /// Whether the handle has sent a command since it connected.
    pub fn has_used(&self, id: u32) -> bool {
        self.handles.get(&id).is_some_and(|handle| handle.known.has_used())
    }

    /// Whether the handle has got news of a change, and has not reconnected since.
    pub fn has_news(&self, id: u32) -> bool {
        self.handles.get(&id).is_some_and(|handle| handle.known.told().is_some())
    }

    /// The reader of an exclusive handle; `None` for another one.
    pub fn exclusive_reader(&self, id: u32) -> Option<Arc<str>> {
        let exclusive = self.handles.get(&id).filter(|handle| handle.at.share == Share::Exclusive);
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
            Share::Exclusive => EXCLUSIVE,
            _ if sum == EXCLUSIVE => EXCLUSIVE,
            _ => sum.saturating_add(1),
        })
    }

    fn resets_of(&self, reader: &Arc<str>) -> u64 {
        self.resets.get(reader).copied().unwrap_or_default()
    }

    fn judge(&mut self, id: u32, insertion: &str) -> Result<(), Code> {
        let Some(handle) = self.handles.get_mut(&id) else { return Err(Code::INVALID_HANDLE) };
        let resets = self.resets.get(&handle.at.reader).copied().unwrap_or_default();
        handle.known.judge(insertion, resets)
    }

    /// Whether another handle of the process keeps its turn at the same reader.
    fn is_held_in_process(&self, at: &Connected<U>, id: u32) -> bool {
        self.handles.iter().any(|(other, handle)| {
            *other != id
                && (handle.at.process, &handle.at.reader) == (at.process, &at.reader)
                && handle.has_turn
                && (handle.depth > 0 || handle.at.share == Share::Exclusive)
        })
    }

    /// Whether another handle excludes one `at` its reader with this share mode.
    fn conflicts(&self, at: &Connected<U>, share: Share, except: Option<u32>) -> bool {
        self.handles.iter().any(|(id, handle)| {
            Some(*id) != except
                && handle.at.reader == at.reader
                && (self.rule == ExclusiveRule::Strict || handle.at.process == at.process)
                && (share == Share::Exclusive || handle.at.share == Share::Exclusive)
        })
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
