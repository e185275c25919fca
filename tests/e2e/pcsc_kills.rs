//! PC/SC programs that are killed at each stage of a call: the card passes on at once, without what they have verified.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::ensure;
use cardbroker_client::ReaderState;
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{
        broker::{Broker, Setup},
        pcscd::Pcscd,
        programs::Program,
    },
};

use crate::{
    pcsc_programs::send,
    world::{LONG, PROTECTED, READER, VERIFY, tell, wait_for},
};

/// No driver's poll and no client's pause is as long.
const AT_ONCE: Duration = Duration::from_secs(2);

const STAGES_OF_CALLS: [&str; 8] =
    ["connected", "connecting", "waiting", "transaction", "command", "resting", "alone", "exclusive"];

/// A script that goes to a stage and says so, before a call that waits. At the others it stays until its input has a
/// line; then it ends its transaction, at the stage of a command with one command more.
const STAGES: &str = "
import sys
from smartcard.scard import *
from smartcard.util import toBytes
reader, stage, verify = sys.argv[1:]
_, context = SCardEstablishContext(SCARD_SCOPE_USER)
mode = SCARD_SHARE_EXCLUSIVE if stage in ('exclusive', 'connecting') else SCARD_SHARE_SHARED
if stage == 'connecting':
    print(stage)
result, card, protocol = SCardConnect(context, reader, mode, SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1)
assert result == SCARD_S_SUCCESS, hex(result)
if stage == 'waiting':
    print(stage)
if stage in ('waiting', 'transaction', 'resting', 'command'):
    assert SCardBeginTransaction(card) == SCARD_S_SUCCESS
if stage in ('transaction', 'resting', 'command', 'exclusive', 'alone'):
    assert SCardTransmit(card, protocol, toBytes(verify))[1][-2:] == [0x90, 0]
if stage == 'resting':
    assert SCardEndTransaction(card, SCARD_LEAVE_CARD) == SCARD_S_SUCCESS
if stage not in ('waiting', 'connecting'):
    print(stage)
sys.stdin.readline()
if stage == 'command':
    SCardTransmit(card, protocol, toBytes(verify))
SCardEndTransaction(card, SCARD_LEAVE_CARD)
print('ended')
sys.stdin.readline()
";

fn at_stage(broker: &Broker, reader: &str, stage: &str) -> anyhow::Result<Program> {
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-u", "-c", STAGES, reader, stage, VERIFY]).env("PCSCLITE_CSOCK_NAME", broker.door());
    let mut program = Program::spawn(&mut python)?;
    let line = program.line()?;
    ensure!(line == stage, "{line}");
    Ok(program)
}

/// Waits until the reader has or has no holder, and so many waiters.
async fn reader_has(broker: &Broker, holder: bool, waiters: i32, within: Duration) -> anyhow::Result<()> {
    let (client, deadline) = (broker.client().await?, Instant::now() + within);
    loop {
        let status = client.diagnostics().status().get().await?;
        let mut here = status.readers.iter().filter(|one| one.reader.as_ref().is_some_and(|one| one.name == READER));
        if here.any(|one| (one.holder.is_some(), one.waiter_count) == (holder, waiters)) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "holder: {holder}, waiters: {waiters} not so: {status:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_program_killed_at_any_stage_hands_the_card_on() -> anyhow::Result<()> {
    tell(async {
        let pcscd = Pcscd::start(1)?;
        let card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
        let broker = Setup::on(&pcscd)?.door("").start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let reader = pcscd.reader_name(0);
        for stage in STAGES_OF_CALLS {
            let waits = ["waiting", "connecting"].contains(&stage);
            let mut holder = waits.then(|| at_stage(&broker, &reader, "transaction")).transpose()?;
            let mut victim = at_stage(&broker, &reader, stage)?;
            if waits {
                reader_has(&broker, true, 1, LONG).await?;
            }
            if stage == "command" {
                card.hang_next(LONG);
                victim.say("send")?;
                ensure!(card.wait_until(LONG, |seen| seen.hanging), "no command");
            }
            drop(victim);
            card.resume();
            if let Some(holder) = &mut holder {
                reader_has(&broker, true, 0, AT_ONCE).await?;
                holder.say("end")?;
                ensure!(holder.line()? == "ended");
            }
            let killed = Instant::now();
            assert_eq!(send(broker.door(), &reader, &[PROTECTED])?, ["6982"], "{stage}");
            assert!(killed.elapsed() < AT_ONCE, "{stage}: {:?}", killed.elapsed());
            reader_has(&broker, false, 0, AT_ONCE).await?;
        }
        Ok(())
    })
}

/// A script that takes all places of its user, 128 contexts and 512 handles, says so, and then waits for changes of the
/// reader, which it prints.
const EVERYTHING: &str = "
import sys, time
from smartcard.scard import *
reader, deadline = sys.argv[1], time.time() + 20
def until_success(call):
    while True:
        result, *values = call()
        if result == SCARD_S_SUCCESS:
            return values
        assert result == SCARD_E_NO_MEMORY and time.time() < deadline, hex(result)
        time.sleep(0.005)
contexts = [until_success(lambda: SCardEstablishContext(SCARD_SCOPE_USER))[0] for _ in range(128)]
connect = lambda context: SCardConnect(context, reader, SCARD_SHARE_SHARED, SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1)
for context in contexts:
    for _ in range(4):
        until_success(lambda: connect(context))
assert SCardEstablishContext(SCARD_SCOPE_USER)[0] == SCARD_E_NO_MEMORY
assert connect(contexts[0])[0] == SCARD_E_NO_MEMORY
print('all')
state = SCARD_STATE_UNAWARE
while True:
    result, states = SCardGetStatusChange(contexts[0], INFINITE, [(reader, state)])
    state = states[0][1] & ~SCARD_STATE_CHANGED
    print('present' if state & SCARD_STATE_PRESENT else 'empty')
";

#[test]
fn a_program_killed_while_it_waits_for_changes_leaves_no_context_and_no_handle() -> anyhow::Result<()> {
    tell(async {
        let pcscd = Pcscd::start(1)?;
        let card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
        let broker = Setup::on(&pcscd)?.door("").start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        for _ in 0..2 {
            let mut python = Command::new("/usr/bin/python3");
            python.args(["-u", "-c", EVERYTHING, &pcscd.reader_name(0)]).env("PCSCLITE_CSOCK_NAME", broker.door());
            let mut victim = Program::spawn(&mut python)?;
            assert_eq!([victim.line()?, victim.line()?], ["all", "present"]);
            card.pull();
            assert_eq!(victim.line()?, "empty", "it waits");
            card.swap(CardOptions::default());
            assert_eq!(victim.line()?, "present", "it waits");
            wait_for(&broker, READER, ReaderState::Ready).await?;
            drop(victim);
        }
        reader_has(&broker, false, 0, AT_ONCE).await
    })
}
