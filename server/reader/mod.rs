//! One reader: an actor (`actor`) that owns its schedule, its state and its published status, and a thread (`card`)
//! that owns its slot.
//!
//! ```text
//! handle ── request ─▶ actor ── job ──▶ card thread ── APDU ─▶ card
//!                       │  ◀── report ──┘  ▲   │
//!                       │                  │   └── results, outcome ─▶ ticket ─▶ caller
//!                       │     session ─ task
//!                       └── status ─▶ statuses ─▶ registry
//! ```
//!
//! Invariants of the parts:
//!
//! * The card thread runs one unit at a time, and sends only while the unit's lease is valid
//!   (`cardbroker_core::turns::lease`, `cardbroker_core::card::gate`).
//! * A ticket ends exactly once (`ticket`). Nothing of it is sent before its turn.
//! * The card is reset before another isolation group uses it, if it may hold security state
//!   (`cardbroker_core::card::view`, `schedule`).
//! * After a turn with a reset as its disposition, the card is reset before another caller's command (`actor`).
//! * Every message that was read in a session is answered; the end of the session concerns only later messages
//!   (`pipeline`).
//! * A PIN that the card has refused is not sent to it again (`cardbroker_core::card::pin_guard`), as far as the
//!   selected application is certain (`cardbroker_core::card::selection`).
//! * Decisions are pure and in `cardbroker_core`: whose turn it is in `turns::schedule`, the reader's state in
//!   `lifecycle`, the next APDU in `card::unit`.
//! * A reader has one card thread for as long as the broker runs, also while it is unplugged: the handle of the first
//!   thread would block a second one.

mod actor;
mod card;
mod handle;
mod inbox;
mod jobs;
pub mod pipeline;
mod schedule;
pub mod session;
mod session_task;
pub mod snapshot;
pub mod spans;
mod statuses;
pub mod ticket;

pub use actor::{Event, ReaderSetup, spawn};
pub use handle::{ReaderHandle, Requests, Submission, TurnsMoved};
pub use jobs::MAX_PIPELINED;
pub use statuses::{LatestStatuses, StatusPublisher, Statuses};
