//! The C interface of Cardbroker: the Rust client behind opaque handles and functions with C's types.
//!
//! **Pointers.** A reference in a signature is C's pointer to a living handle; `Option` because it may be NULL, which
//! is an error or, where the documentation says so, a default. A `Box` is a handle that the function takes back, so no
//! other thread may use it. A raw pointer is a text or an array of C. The caller keeps these promises of the header:
//! each handle comes from this library and was not freed, each text ends with a NUL, each array has its length, both
//! stay as they are during the call, each variable for a result is aligned, writable and no other argument's, an array
//! to be filled has room for its capacity, and a text comes back as `into_raw` gave it. All functions with raw pointers
//! are `unsafe` for this reason, and their bodies refer to it.
//!
//! **Truth values** are `i32`: a `bool` with another value than 0 and 1 would be undefined behaviour, and some
//! languages pass -1 for true.
//!
//! **Threads.** Every handle may be used by several threads at once: results never change, and whatever changes is
//! behind a lock. The compiler proves it below.
//!
//! **Panics** end in `border::caught`, through which every function of the interface runs.

use std::alloc::System;

use zeroizing_alloc::ZeroAlloc;

pub mod answers;
mod border;
pub mod broker;
pub mod client;
pub mod commands;
pub mod connect;
#[rustfmt::skip]
pub mod constants;
pub mod error;
mod failure;
#[cfg(test)]
mod header;
mod home;
pub mod pin_pad;
pub mod readers;
mod running;
pub mod session;
mod settings;
mod stop;
#[cfg(test)]
mod tests;
pub mod transmit;
pub mod turn;
pub mod turn_watch;
pub mod version;
pub mod watch;

/// Compiles only if every handle may be used by several threads, which C cannot ask the compiler.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<answers::Answers>();
    shared::<broker::Broker>();
    shared::<client::Client>();
    shared::<commands::Commands>();
    shared::<connect::ConnectOptions>();
    shared::<error::Error>();
    shared::<readers::Reader>();
    shared::<readers::Readers>();
    shared::<session::Session>();
    shared::<turn::TurnOptions>();
    shared::<turn_watch::TurnWatch>();
    shared::<turn_watch::Turns>();
    shared::<watch::Event>();
    shared::<watch::Watch>();
};

/// Wipes all memory that the library frees: transport and codec keep copies of commands in buffers of their own.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);
