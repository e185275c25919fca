//! The audit trail of PC/SC programs in the daemon's log: their handles, and the turns that pass to them.

use std::process::Command;

use cardbroker_client::ReaderState;
use cardbroker_tests::harness::{
    broker::{Broker, Setup},
    programs::Program,
};

use crate::{
    policy::{OPEN, audit},
    world::{tell, unit, wait_for},
};

/// PC/SC's name of the reader.
const SIMULATED: &str = "Simulated Reader 00";
/// Reads two bytes, and leaves nothing behind for which the card would be reset.
const READ: &str = "00B0000002";

/// A script that connects once, and sends each line of its input in a transaction of its own.
const WORKER: &str = "
import sys
from smartcard.scard import *
from smartcard.util import toBytes
_, context = SCardEstablishContext(SCARD_SCOPE_USER)
_, card, protocol = SCardConnect(context, sys.argv[1], SCARD_SHARE_SHARED, SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1)
print('connected')
for line in sys.stdin:
    assert SCardBeginTransaction(card) == SCARD_S_SUCCESS
    _, answer = SCardTransmit(card, protocol, toBytes(line.strip()))
    assert SCardEndTransaction(card, SCARD_LEAVE_CARD) == SCARD_S_SUCCESS
    print('%02X%02X' % tuple(answer[-2:]))
";

fn worker(broker: &Broker) -> anyhow::Result<Program> {
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-u", "-c", WORKER, SIMULATED]).env("PCSCLITE_CSOCK_NAME", broker.door());
    let mut worker = Program::spawn(&mut python)?;
    assert_eq!(worker.line()?, "connected");
    Ok(worker)
}

/// The processes in the records of an event, in order.
fn processes(broker: &Broker, event: &str) -> Vec<u64> {
    audit(broker, event).iter().map(|record| record["pid"].as_u64().unwrap()).collect()
}

#[test]
fn each_handle_and_each_turn_that_passes_on_is_recorded_once() -> anyhow::Result<()> {
    tell(async {
        let broker = Setup::simulated(1)?.door("").log_level("info").flag("--log-format=json").start()?;
        wait_for(&broker, OPEN, ReaderState::Ready).await?;
        let mut workers = [worker(&broker)?, worker(&broker)?];
        let [first, second] = [u64::from(workers[0].id()), u64::from(workers[1].id())];
        assert_eq!(processes(&broker, "handle_connected"), [first, second]);
        assert!(processes(&broker, "session_began").is_empty(), "a shared handle needs no turn");
        let mut work = |worker: usize| -> anyhow::Result<()> {
            for _ in 0..3 {
                workers[worker].say(READ)?;
                assert_eq!(workers[worker].line()?, "9000");
            }
            Ok(())
        };
        work(0)?;
        work(1)?;
        work(0)?;
        // A unit of a client of the broker has no record, but the turn after it has.
        unit(&broker.client().await?, OPEN, &[READ]).send().await?;
        work(0)?;
        assert_eq!(processes(&broker, "session_began"), [first, second, first, first]);
        drop(workers);
        assert_eq!(processes(&broker, "handle_connected").len(), 2);
        for event in ["session_ended", "session_ended_by_broker"] {
            assert!(audit(&broker, event).is_empty(), "{event}");
        }
        Ok(())
    })
}
