//! The turns of handles: the calls that need one, and their transactions.

use std::{hash::Hash, sync::Arc};

use super::{Card, Connected, Handles, ShareMode};
use crate::pcsclite::code::Code;

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
}

impl End {
    fn refused(code: Code) -> Self {
        Self { code, was_open: false }
    }
}

impl<U: Clone + Eq + Hash> Handles<U> {
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

    /// The answer to a call that has got no turn, for the reason `code`. News counts first: it may have come while the
    /// call waited. The broker may know of a removal before `insertion` shows it.
    pub fn refused(&mut self, id: u32, insertion: &str, code: Code) -> Code {
        if let Err(news) = self.judge(id, insertion) {
            return news;
        }
        match self.handles.get_mut(&id) {
            Some(handle) if code == Code::NO_SMARTCARD && handle.known.has_card() => {
                handle.known.tell(Code::REMOVED_CARD);
                Code::REMOVED_CARD
            }
            _ => code,
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

    /// A command of the handle may have reached the card, which had been reset `resets` times. `selects`: it selects an
    /// application by name.
    pub fn on_sent(&mut self, id: u32, selects: bool, resets: u64) {
        if let Some(handle) = self.handles.get_mut(&id) {
            handle.known.on_sent(selects, resets);
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
        End { code: judged.err().unwrap_or(Code::SUCCESS), was_open: true }
    }

    /// Whether the handle's own process keeps a turn at the same reader, for which the handle must not wait.
    pub fn is_own_process_busy(&self, id: u32) -> bool {
        self.handles.get(&id).is_some_and(|handle| !handle.has_turn && self.is_held_in_process(&handle.at, id))
    }

    /// Whether the handle has begun a turn, which has not ended.
    pub fn has_turn(&self, id: u32) -> bool {
        self.handles.get(&id).is_some_and(|handle| handle.has_turn)
    }

    /// Whether the handle keeps its turn: it is exclusive, or in a transaction.
    pub fn keeps_turn(&self, id: u32) -> bool {
        self.handles.get(&id).is_some_and(|handle| handle.at.share == ShareMode::Exclusive || handle.depth > 0)
    }

    /// Whether another handle of the process keeps its turn at the same reader.
    fn is_held_in_process(&self, at: &Connected<U>, id: u32) -> bool {
        self.handles.iter().any(|(other, handle)| {
            *other != id
                && (handle.at.process, &handle.at.reader) == (at.process, &at.reader)
                && handle.has_turn
                && (handle.depth > 0 || handle.at.share == ShareMode::Exclusive)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::*, *};

    #[test]
    fn a_call_without_a_turn_gets_the_news_of_its_card() {
        let mut handles = Handles::new(HandleLimits { total: 8, per_user: 8 });
        for (id, insertion) in [(1, "i1"), (2, "i1"), (3, "")] {
            let at = Connected {
                rule: ExclusiveRule::Virtual,
                user: 7,
                process: 1,
                context: 1,
                reader: "readers/a".into(),
                share: ShareMode::Shared,
                protocol: 2,
                insertion: insertion.into(),
            };
            handles.connect(id, at).unwrap();
        }
        assert_eq!(handles.refused(1, "i1", Code::SHARING_VIOLATION), Code::SHARING_VIOLATION, "no news");
        assert_eq!(handles.refused(1, "i1", Code::NO_SMARTCARD), Code::REMOVED_CARD, "the reader's status comes later");
        assert_eq!(handles.status(1, "i1"), Code::REMOVED_CARD);
        assert_eq!(handles.refused(2, "", Code::SHARING_VIOLATION), Code::REMOVED_CARD);
        assert_eq!(handles.refused(3, "", Code::NO_SMARTCARD), Code::NO_SMARTCARD, "it has never had a card");
        assert_eq!(handles.refused(4, "i1", Code::NO_SMARTCARD), Code::INVALID_HANDLE);
    }
}
