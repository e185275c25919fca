//! The decisions of the door for PC/SC programs: pcsc-lite's client protocol, and the rules of its handles.
//!
//! | module | decides |
//! | --- | --- |
//! | [`chain`] | whether a broker is its own PC/SC service, through the doors of others |
//! | [`code`] | the result code of PC/SC for a failure of the broker |
//! | [`wire`] | the requests in a client's bytes, and the bytes of their answers |
//! | [`reader_states`] | the readers as one process sees them |
//! | [`notification`] | when a client that waits for a change gets its one message |
//! | [`handles`] | the connections to cards: share modes, transactions, and the news of resets |
//! | [`pause`] | when a turn ends between two calls of its handle |
//! | [`rest`] | how long a handle keeps a turn that it no longer needs |

pub mod chain;
pub mod code;
pub mod handles;
pub mod notification;
pub mod pause;
pub mod reader_states;
pub mod rest;
pub mod wire;
