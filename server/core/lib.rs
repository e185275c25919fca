//! The decisions of the broker, as pure code: no clock, no thread, no socket, no file and no log.
//!
//! The crate `cardbroker_server` acts on these decisions. Times are arguments (`now`), events are method calls, and
//! each machine returns its next action. So every rule can be tested with invented times and in random histories, and
//! the properties are shown to fail with planted faults (module `properties`). `docs/architecture.md` describes how
//! both crates work together.
//!
//! ```text
//!   request ──▶ outcomes   run, join or replay?        (only with a request_id)
//!                  │
//!                  ▼
//!               turns      whose turn is next?         queue, lease, terms of waiting
//!                  │
//!                  ▼
//!               card       what may be sent now?       unit ─▶ gate ─▶ the next exchange
//!                  │                                    view, selection, pin_guard: the state of the card
//!                  ▼
//!               lifecycle  is the card usable?          events of the monitor and the card thread ─▶ next action
//! ```
//!
//! | module | decides |
//! | --- | --- |
//! | [`apdu`] | the structure of commands, classes and status words; which bytes are secret |
//! | [`atr`] | the protocols that a card offers |
//! | [`budget`] | whether a user's requests were refused too often, and whether a message has too many fields |
//! | [`caller`] | nothing: the identities by which callers are counted and rules match |
//! | [`card`] | the next exchange of a unit, whether it may be sent, and what remains in the card |
//! | [`error`] | nothing: the closed list of failures, each with the delivery of the command |
//! | [`journal`] | which events of a reader are kept, and what of a command may be told |
//! | [`keyed_hash`] | whether two secret values are equal, without keeping them |
//! | [`lifecycle`] | the state of a reader and its card, and the next action on it |
//! | [`outcomes`] | whether a request is the first of its id, and how long its outcome is kept |
//! | [`pcsc_words`] | nothing: the words of each system for its PC/SC service |
//! | [`pcsclite`] | the requests and answers of PC/SC programs, and the rules of their handles |
//! | [`policy`] | whether a rule allows an operation or a command of a caller |
//! | [`sid`], [`user`] | nothing: the users and groups of Unix and of Windows |
//! | [`simulated_card`] | the responses of the simulated card, for the simulated readers and for tests |
//! | [`slot`] | the delivery of a command after each error of the card stack |
//! | [`status`] | the refusal of a request in each state of a reader |
//! | [`turns`] | the order of turns, the validity of leases, when a session must give way, when a reset is due |
//!
//! # The life of one unit
//!
//! 1. [`outcomes::Outcomes::begin`] decides whether the request runs.
//! 2. [`turns::schedule::Schedule::push`] queues it behind its caller's other requests, and
//!    [`turns::schedule::Schedule::next`] returns it when its turn comes, and whether the card must be reset first.
//! 3. [`lifecycle::CardLifecycle::take_action`] decides when the card can serve, and
//!    [`turns::lease::Leases::grant`] gives the unit the right to send.
//! 4. [`card::unit`] yields one exchange after the other, and [`card::gate`] admits each before it is sent. The unit
//!    ends at a status word after which its stop rule does not let it continue.
//! 5. [`lifecycle::CardLifecycle::on_unit_ended`] records how the unit has left the card, and
//!    [`outcomes::Outcomes::finish`] stores its outcome for repeats.

pub mod apdu;
pub mod atr;
pub mod budget;
pub mod caller;
pub mod card;
pub mod error;
pub mod journal;
pub mod keyed_hash;
pub mod lifecycle;
pub mod outcomes;
pub mod pcsc_words;
pub mod pcsclite;
pub mod policy;
#[cfg(any(test, feature = "properties"))]
pub mod properties;
pub mod sid;
pub mod simulated_card;
pub mod slot;
mod slot_name;
pub mod status;
pub mod turns;
pub mod user;
