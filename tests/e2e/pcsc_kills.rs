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

use crate::world::{LONG, PROTECTED, READER, VERIFY, tell, wait_for};

const DIRECT: &str = env!("CARGO_BIN_EXE_direct-pcsc");
/// No driver's poll and no client's pause is as long.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A script that goes to a stage, says so, and stays there until its input has a line; then it ends its transaction.
const STAGES: &str = "
import sys
from smartcard.scard import *
from smartcard.util import toBytes
reader, stage, verify = sys.argv[1:]
_, context = SCardEstablishContext(SCARD_SCOPE_USER)
mode = SCARD_SHARE_EXCLUSIVE if stage == 'exclusive' else SCARD_SHARE_SHARED
result, card, protocol = SCardConnect(context, reader, mode, SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1)
assert result == SCARD_S_SUCCESS, hex(result)
if stage == 'waiting':
    print(stage)
if stage in ('waiting', 'transaction', 'resting'):
    assert SCardBeginTransaction(card) == SCARD_S_SUCCESS
if stage in ('transaction', 'resting', 'exclusive', 'alone'):
    assert SCardTransmit(card, protocol, toBytes(verify))[1][-2:] == [0x90, 0]
if stage == 'resting':
    assert SCardEndTransaction(card, SCARD_LEAVE_CARD) == SCARD_S_SUCCESS
if stage != 'waiting':
    print(stage)
sys.stdin.readline()
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

/// Waits until so many requests wait at the reader.
async fn waiters(broker: &Broker, count: i32) -> anyhow::Result<()> {
    let (client, deadline) = (broker.client().await?, Instant::now() + LONG);
    loop {
        let status = client.diagnostics().status().get().await?;
        let mut here = status.readers.iter().filter(|one| one.reader.as_ref().is_some_and(|one| one.name == READER));
        if here.any(|one| one.waiter_count == count) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "not {count} waiters: {status:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_program_killed_at_any_stage_hands_the_card_on() -> anyhow::Result<()> {
    tell(async {
        let pcscd = Pcscd::start(1)?;
        let _card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
        let broker = Setup::on(&pcscd)?.door("").start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let reader = pcscd.reader_name(0);
        for stage in ["connected", "waiting", "transaction", "resting", "alone", "exclusive"] {
            let mut holder = (stage == "waiting").then(|| at_stage(&broker, &reader, "transaction")).transpose()?;
            let victim = at_stage(&broker, &reader, stage)?;
            if holder.is_some() {
                waiters(&broker, 1).await?;
            }
            drop(victim);
            if let Some(holder) = &mut holder {
                waiters(&broker, 0).await?;
                holder.say("end")?;
                ensure!(holder.line()? == "ended");
            }
            let killed = Instant::now();
            let mut direct = Command::new(DIRECT);
            direct.args([&reader, "--send", PROTECTED]).env("PCSCLITE_CSOCK_NAME", broker.door());
            let answers: Vec<String> = serde_json::from_value(Program::spawn(&mut direct)?.report()?)?;
            assert_eq!(answers, ["6982"], "{stage}");
            assert!(killed.elapsed() < AT_ONCE, "{stage}: {:?}", killed.elapsed());
        }
        Ok(())
    })
}
