//! The door for PC/SC programs: pcsc-lite's client protocol on a socket of its own, for programs that use
//! libpcsclite unchanged. Each call becomes a turn, a session or a look at the readers, by the broker's interface.
//!
//! ```text
//! program ── libpcsclite ── socket ── connection ─┬─ reader states, notification   from the view of the readers
//!            (one context)                        ├─ state                         the handles of all connections
//!                                                 └─ turns ── session              one for each handle at work
//! ```
//!
//! | part | concern |
//! | --- | --- |
//! | `door` | accepts connections, within their limits |
//! | `private` | private doors, for the children of one process |
//! | `state` | the state that connections share: contexts, processes, handles |
//! | `loops` | the refusal of a broker to sit on its own door |
//! | `groups` | the isolation groups of a connection |
//! | `input` | the bytes of one connection |
//! | `connection` | one connection: what comes next, and the answers that need no turn |
//! | `context` | the context of a connection |
//! | `waiting` | the messages to a client that waits for a change |
//! | `cards` | requests about a card: state and attributes of a handle |
//! | `connecting` | handles: connect, reconnect, disconnect |
//! | `transactions` | transactions and commands |
//! | `holding` | how a handle gets its turn, and keeps it |
//! | `ending` | how the turn of a handle ends |
//! | `turns` | the turns of a connection's handles, waiting, in use or resting |
//! | `unserved` | why a call has no result |
//!
//! Three rules keep client libraries alive. A request that asks for state is answered at once. A request that needs a
//! turn is held for 1 s at most; then the client asks again, and its place in the queue is kept. A process
//! never waits for a handle of its own.

mod cards;
mod connecting;
mod connection;
mod context;
mod door;
mod ending;
mod groups;
mod holding;
mod input;
mod loops;
mod private;
mod state;
// The programs of the tests use a pair of Unix sockets.
#[cfg(test)]
#[cfg(unix)]
mod tests;
mod transactions;
mod turns;
mod unserved;
mod waiting;

pub use self::{
    door::{Door, DoorSettings, IdleTimes},
    loops::{Loop, check_loop},
    private::{PrivateDoor, PrivateDoors},
};
