//! The daemon `cardbrokerd`: owns a machine's smart-card readers and serves them to programs over gRPC.
//!
//! This crate acts, and `cardbroker_core` decides: the core has no clock, no thread, no socket and no log, and every
//! module below asks it for the next step. `docs/architecture.md` describes both in detail, with the rules that must
//! always hold and a table of places for common changes.
//!
//! ```text
//!   clients: Unix socket      clients: TCP,     PC/SC programs:
//!        or named pipe        with a token      libpcsclite's socket
//!               │                   │                  │
//!   ┌───────────▼───────────────────▼──────────────────▼───┐
//!   │ listen    accepts connections, identifies the peer   │
//!   │ grpc      authenticates, bounds, converts requests   │
//!   │ pcsclite  the same for the calls of PC/SC programs   │
//!   │ broker    admits requests, shows visible readers     │
//!   └───────────┬──────────────────────────────▲───────────┘
//!      requests │                              │ view of the readers
//!   ┌───────────▼──────────┐  events  ┌────────┴───────────┐
//!   │ reader               │◀─────────│ registry           │
//!   │   actor (task)       │─────────▶│   (task)           │
//!   │    jobs │ ▲ reports  │ statuses │        ▲ status    │
//!   │         ▼ │          │          │        │ of slots  │
//!   │   card thread        │          │  monitor thread    │
//!   └───────────┬──────────┘          └────────▲───────────┘
//!          APDU │                              │
//!   ┌───────────▼──────────────────────────────┴───────────┐
//!   │ backend   PC/SC, or simulated readers and cards      │
//!   └──────────────────────────────────────────────────────┘
//! ```
//!
//! There is one actor and one card thread per reader, and one registry and one monitor thread per broker. Tasks share
//! the runtime's only thread and never block; the card threads block in the driver.
//!
//! | module | owns |
//! | --- | --- |
//! | [`process`] | flags, signals, process restrictions, random numbers, the log and its thread |
//! | [`config`] | the configuration file, checked before the first side effect |
//! | [`listen`] | the sockets, the connections and their slots, the identity of the peer |
//! | [`grpc`] | the edge: authentication, limits before decoding, conversion from and to the contract |
//! | [`pcsclite`] | the door for PC/SC programs: pcsc-lite's client protocol |
//! | [`caller`] | isolation groups, and the tokens for TCP |
//! | [`policy`] | the rules in force, the access of each request, the audit trail |
//! | [`broker`] | admission, and each caller's view of readers and turns |
//! | `outcomes` | the units with a `request_id`, each in a task of its own |
//! | [`registry`] | the ids and actors of all readers, and the view that clients see |
//! | [`reader`] | one reader: its queue, leases and card's life cycle, its sessions and its card thread |
//! | `journal` | what has happened at each reader: counters, incidents, the flight recorder |
//! | [`trace`] | the operators that follow readers, and the trace in the log |
//! | [`backend`] | the card stack: PC/SC or simulated readers |
//! | [`server`] | the construction of all these, the reload, and the shutdown |
//!
//! # The life of one unit
//!
//! 1. `listen` accepts the connection, and `grpc` checks the caller, the size and the fields of the request.
//! 2. `broker` admits it: the reader must be visible to the caller, and the policy must allow the commands. With a
//!    `request_id` it passes through `outcomes`, which runs, joins or replays it.
//! 3. [`reader::ReaderHandle`] wraps it in a ticket ([`reader::ticket`]) and sends it to the reader's actor, which
//!    queues it. Turns go round the users, within a user round its callers.
//! 4. When its turn comes, the actor checks the policy again, decides whether the card must be reset for another
//!    isolation group, grants a lease, and sends the unit to the card thread.
//! 5. The card thread checks the lease before each exchange, sends the APDU to the slot, and stores each response in
//!    the ticket.
//! 6. The end of the ticket delivers the outcome to the waiting call. The thread reports to the actor, which gives the
//!    next request its turn.
//!
//! A session bypasses steps 2 and 3 after its beginning: its lease lasts for many units, which go from
//! [`reader::session`] straight to the card thread.

pub mod backend;
pub mod broker;
pub mod caller;
pub mod config;
pub mod grpc;
mod journal;
pub mod listen;
mod outcomes;
pub mod pcsclite;
pub mod policy;
pub mod process;
pub mod reader;
pub mod registry;
pub mod server;
pub mod trace;
