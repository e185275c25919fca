//! The knowledge of a handle about its card: the insertion, the resets and the selection, and the news of their change.

use crate::pcsclite::code::Code;

/// The card at the beginning of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// The id of the card's insertion.
    pub insertion: String,
    /// The number of resets of the reader's card so far.
    pub resets: u64,
    /// The number of commands so far that may have changed the selection.
    pub selection: u64,
}

/// The knowledge of one handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// Empty for a handle that was connected without a card.
    insertion: String,
    resets: u64,
    /// Whether the handle has sent a command since it connected. Without one it gets no news of resets.
    has_used: bool,
    /// The number of resets at the last command since the handle connected to this card; `None` without a command.
    sent_at: Option<u64>,
    /// The number of selections at the end of the last turn with a command; `None` without such a turn.
    selection: Option<u64>,
    /// Whether each turn so far has begun with the selection of an application by name.
    always_selects: bool,
    /// Whether the turn has had no command yet.
    is_fresh: bool,
    /// Whether another selection was found at the beginning of the turn, which the first command must replace.
    must_select: bool,
    /// The code for all calls until the handle reconnects.
    told: Option<Code>,
}

impl Known {
    pub(super) fn new(insertion: String, resets: u64) -> Self {
        Self {
            insertion,
            resets,
            has_used: false,
            sent_at: None,
            selection: None,
            always_selects: true,
            is_fresh: false,
            must_select: false,
            told: None,
        }
    }

    /// Compares the knowledge with the card of now. A removal is the last news of a card.
    pub(super) fn judge(&mut self, insertion: &str, resets: u64) -> Result<(), Code> {
        if self.insertion.is_empty() {
            insertion.clone_into(&mut self.insertion);
        }
        if self.insertion != insertion {
            self.told = Some(Code::REMOVED_CARD);
        } else if self.resets != resets && self.has_used {
            self.told.get_or_insert(Code::RESET_CARD);
        }
        self.resets = resets;
        self.told.map_or(Ok(()), Err)
    }

    /// As [`Known::judge`], at the beginning of a turn. Another program may have selected its own application since the
    /// handle's last turn: that counts as a reset unless the first command selects one by name. `selects` is whether
    /// it does; `None` for a transaction, whose first command is not known. A handle that has always done so is
    /// expected to do it again.
    pub(super) fn on_turn(&mut self, card: &Card, selects: Option<bool>) -> Result<(), Code> {
        self.judge(&card.insertion, card.resets)?;
        let has_moved = self.selection.is_some_and(|selection| selection != card.selection);
        if has_moved && !selects.unwrap_or(self.always_selects) {
            self.told = Some(Code::RESET_CARD);
        }
        (self.is_fresh, self.must_select) = (true, has_moved);
        self.told.map_or(Ok(()), Err)
    }

    /// A command is about to be sent. `selects`: it selects an application by name.
    pub(super) fn on_command(&mut self, selects: bool) -> Result<(), Code> {
        if self.must_select && !selects {
            self.always_selects = false;
            self.told = Some(Code::RESET_CARD);
            return Err(Code::RESET_CARD);
        }
        Ok(())
    }

    /// The command may have reached the card, which had been reset this number of times.
    pub(super) fn on_sent(&mut self, selects: bool, resets: u64) {
        if std::mem::take(&mut self.is_fresh) {
            self.always_selects &= selects;
        }
        (self.has_used, self.sent_at, self.must_select) = (true, Some(resets), false);
    }

    /// Without a command in the turn, the handle still expects the selection of an earlier one.
    pub(super) fn on_turn_over(&mut self, selection: u64) {
        if !self.must_select {
            self.selection = self.has_used.then_some(selection);
        }
    }

    pub(super) fn tell(&mut self, code: Code) {
        self.told = Some(code);
    }

    /// Whether the handle was connected to this insertion.
    pub(super) fn is_of(&self, insertion: &str) -> bool {
        self.insertion == insertion
    }

    /// Whether the handle was connected to a card, which may be gone by now.
    pub(super) fn has_card(&self) -> bool {
        !self.insertion.is_empty()
    }

    /// The news that the handle has got and not acknowledged.
    pub(super) fn told(&self) -> Option<Code> {
        self.told
    }

    /// The handle reconnects: it knows the card of now. Its commands have had their effect on the card all the same.
    pub(super) fn acknowledge(&mut self, insertion: String, resets: u64) {
        let sent_at = self.sent_at.filter(|_| self.insertion == insertion);
        *self = Self { always_selects: self.always_selects, sent_at, ..Self::new(insertion, resets) };
    }

    /// The handle has not reconnected after all: it knows what it knew `before`, and the news that it got meanwhile.
    pub(super) fn undo(&mut self, before: Self) {
        let (earlier, later) = (before.told, self.told);
        *self = before;
        let removed = Some(Code::REMOVED_CARD);
        self.told = if later == removed { later } else { earlier.or(later) };
    }

    /// Whether the effects of the handle's commands are in the card of now: it is the same card, and was not reset
    /// since the last of them.
    pub(super) fn has_effect(&self, insertion: &str, resets: u64) -> bool {
        self.insertion == insertion && self.sent_at == Some(resets)
    }
}
