//! One reader: an actor (`actor`) that owns its queue, its state and what watchers see of it, and a thread (`card_thread`) that owns its slot.
//!
//! ```text
//! submit ─▶ actor ── grant ─▶ card thread ── APDU ─▶ card
//!             │  ◀── report ───┘    │
//!             │                     └── results, outcome ─▶ ticket ─▶ caller
//!             └── status ─▶ registry
//! ```
//!
//! What each part may rely on:
//!
//! * One unit is with the card thread at a time, and it may send only while its lease is valid (`lease`, `gate`).
//! * A ticket ends exactly once (`ticket`). It ends without having been sent unless its turn has come.
//! * The card is reset before another isolation group uses it, if something may have been left in it (`card_view`, `isolation`).
//! * After a turn that asks for it, the card is reset before anyone else's command (`actor`).
//! * What was read of a session is answered, whatever ends it, and the end concerns only the rest (`pipeline`).
//! * What a card has refused as a PIN is not sent to it again (`pin_guard`), as far as it is certain what is selected (`selection`).
//! * Decisions are pure: the order of turns in `queue`, the reader's state in `life`, the next APDU in `unit`.
//! * A reader has one card thread for as long as the broker runs, also while it is unplugged: a second one would find the first one's
//!   handle in its way.

mod actor;
mod card;
mod handle;
mod inbox;
mod isolation;
mod jobs;
pub mod pipeline;
pub mod session;
mod session_task;
pub mod spans;
mod statuses;
pub mod ticket;

pub use actor::{Event, ReaderSetup, spawn};
pub use handle::{ReaderHandle, Requests, Submission, TurnsMoved};
pub use jobs::MAX_PIPELINED;
pub use statuses::{LatestStatuses, StatusPublisher, Statuses};
