//! The dialogs: what the user is asked, and what was on the screen then.

use super::{model::Reader, state::Order};
use crate::words::turn_kind;

/// A dialog that takes the keys.
#[derive(Debug)]
pub(super) enum Dialog {
    Help,
    /// The filter is edited; Escape brings back the one before.
    Filter {
        before: String,
    },
    Release(Question),
}

/// The question whether to release a turn.
#[derive(Debug)]
pub(super) struct Question {
    /// The turn and its holder, in words: `the session of alice 4711 "firefox" at desk`.
    pub(super) what: String,
    /// The order to send. The reason is being edited until the question is asked.
    pub(super) order: Order,
    /// Whether the reason is complete, and yes or no is missing.
    pub(super) is_asked: bool,
}

impl Question {
    /// The question about the turn in progress; `None` if nobody has the turn.
    pub(super) fn about(reader: &Reader) -> Option<Self> {
        let holder = reader.holder.as_ref()?;
        Some(Self {
            what: format!("the {} of {} at {}", turn_kind(holder.is_session), holder.caller.short(), reader.id),
            order: Order { reader: reader.name.clone(), lease: holder.lease.clone(), reason: String::new() },
            is_asked: false,
        })
    }

    /// Whether the turn on the screen is another one by now.
    pub(super) fn is_over(&self, reader: Option<&Reader>) -> bool {
        let holder = reader.and_then(|reader| reader.holder.as_ref());
        holder.is_none_or(|holder| holder.lease != self.order.lease)
    }
}
