//! Properties of every history of a reader, checked on the real actor, schedule, life cycle, leases, tickets, sessions
//! and card thread's work; each is seen broken by a planted fault.

mod asking;
mod clients;
mod ends;
mod faults;
mod hearing;
mod history;
mod pipelines;
mod requested_reset;
mod thread;
mod thread_end;
mod visits;
mod witness;
mod world;

use cardbroker_core::properties::{holds, is_broken};

use self::{faults::Fault, history::histories, thread::play};

const CASES: u32 = 500;

#[test]
fn every_promise_holds_in_every_history() {
    holds(CASES, histories(), |history| play(history, None));
}

#[test]
fn every_planted_fault_is_found() {
    for fault in Fault::ALL {
        let rule = format!("{:?}: ", fault.breaks());
        is_broken(4 * CASES, histories(), |history| play(history, Some(fault)), fault, &rule);
    }
}
