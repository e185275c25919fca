//! The broker in the place of the machine's pcscd, and the way back, as the document says; killed at each stage.
//!
//! Each process has a namespace of mounts in which the test's folder is `/run/pcscd`, and programs have no variable.

use std::{path::Path, process::Command};

use anyhow::{Context, ensure};
use cardbroker_client::ReaderState;
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{
        broker::{Broker, Setup},
        pcscd::{Pcscd, UPSTREAM},
        programs::Program,
        run::run,
        users::may_be_several_users,
    },
};
use serde_json::Value;

use crate::world::{COUNT, PROTECTED, READER, VERIFY, tell, wait_for};

const DIRECT: &str = env!("CARGO_BIN_EXE_direct-pcsc");
const INSIDE: &str = "mkdir -p /run/pcscd && mount --bind \"$0\" /run/pcscd && exec \"$@\"";
const DOOR: &str = "/run/pcscd/pcscd.comm";

/// A program on the machine whose `/run/pcscd` is this folder.
fn on_machine(folder: &Path, program: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", INSIDE]).arg(folder).arg(program).env_remove("PCSCLITE_CSOCK_NAME");
    command
}

/// Sends a command with a program of its own; returns the answer.
fn send(pcscd: &Pcscd, command: &str) -> anyhow::Result<String> {
    let mut direct = on_machine(&pcscd.run_folder(), DIRECT);
    let sent = run(direct.args([&pcscd.reader_name(0), "--send", command]))?;
    ensure!(sent.code == Some(0), "{sent:?}");
    let answers: Vec<String> = serde_json::from_str::<Value>(&sent.out).and_then(serde_json::from_value)?;
    answers.into_iter().next().context("no answer")
}

async fn taken_over(pcscd: &Pcscd) -> anyhow::Result<Broker> {
    let (folder, upstream) = (pcscd.run_folder().display().to_string(), Path::new("/run/pcscd").join(UPSTREAM));
    let broker = Setup::behind(upstream)?
        .configuration(&format!("[pcsclite]\nsocket = \"{DOOR}\"\n"))
        .run_by(&["unshare", "-m", "sh", "-c", INSIDE, &folder])
        .start()?;
    wait_for(&broker, READER, ReaderState::Ready).await?;
    Ok(broker)
}

/// A script that prints each state of a reader, in one context.
const EVENTS: &str = "
import sys
from smartcard.scard import *
_, context = SCardEstablishContext(SCARD_SCOPE_USER)
state = SCARD_STATE_UNAWARE
while True:
    result, states = SCardGetStatusChange(context, 60000, [(sys.argv[1], state)])
    if result != SCARD_S_SUCCESS:
        sys.exit(SCardGetErrorMessage(result))
    flags = states[0][1]
    print('present' if flags & SCARD_STATE_PRESENT else 'empty')
    state = flags & ~SCARD_STATE_CHANGED
";

/// A script that verifies a PIN in a transaction, and stays in it until its input ends; then it sends once more.
const LOCKER: &str = "
import sys
from smartcard.scard import *
from smartcard.util import toBytes
_, context = SCardEstablishContext(SCARD_SCOPE_USER)
_, card, protocol = SCardConnect(context, sys.argv[1], SCARD_SHARE_SHARED, SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1)
assert SCardBeginTransaction(card) == SCARD_S_SUCCESS
_, answer = SCardTransmit(card, protocol, toBytes(sys.argv[2]))
print('%02X%02X' % tuple(answer[-2:]))
sys.stdin.readline()
result, _ = SCardTransmit(card, protocol, toBytes(sys.argv[2]))
print('%08X' % (result & 0xFFFFFFFF))
";

#[test]
fn a_machine_is_taken_over_and_given_back() -> anyhow::Result<()> {
    if !may_be_several_users()? {
        return Ok(());
    }
    tell(async {
        let mut pcscd = Pcscd::start(2)?;
        let _card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
        assert!(send(&pcscd, COUNT)?.ends_with("9000"), "by pcscd itself");

        pcscd.move_socket(true)?;
        let mut broker = taken_over(&pcscd).await?;
        assert!(send(&pcscd, COUNT)?.ends_with("9000"), "by the broker");
        let log = broker.settled_log();
        assert!(log.contains("handle_connected"), "{log}");

        // pcscd dies and comes back: a program's context stays.
        let mut python = on_machine(&pcscd.run_folder(), "/usr/bin/python3");
        let mut program = Program::spawn(python.args(["-u", "-c", EVENTS, &pcscd.reader_name(0)]))?;
        assert_eq!(program.line()?, "present");
        pcscd.restart()?;
        assert_eq!(program.line()?, "empty");
        while program.line()? != "present" {}
        wait_for(&broker, READER, ReaderState::Ready).await?;
        assert!(send(&pcscd, COUNT)?.ends_with("9000"), "after pcscd's restart");

        // The broker dies in a transaction, and comes back.
        let mut python = on_machine(&pcscd.run_folder(), "/usr/bin/python3");
        let mut locker = Program::spawn(python.args(["-u", "-c", LOCKER, &pcscd.reader_name(0), VERIFY]))?;
        assert_eq!(locker.line()?, "9000");
        broker.kill()?;
        locker.say("go on")?;
        // SCARD_F_COMM_ERROR or SCARD_E_NO_SERVICE, by the moment at which the library notices.
        assert!(["80100013", "8010001D"].contains(&&*locker.line()?));
        broker.start_again()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        assert_eq!(send(&pcscd, PROTECTED)?, "6982", "nobody inherits the PIN");

        // The way back.
        assert!(broker.stop()?.success(), "{}", broker.log());
        assert!(!pcscd.run_folder().join("pcscd.comm").exists());
        pcscd.move_socket(false)?;
        assert!(send(&pcscd, COUNT)?.ends_with("9000"), "by pcscd again");
        Ok(())
    })
}

#[test]
fn a_dead_broker_keeps_nobody_from_the_way_back() -> anyhow::Result<()> {
    if !may_be_several_users()? {
        return Ok(());
    }
    tell(async {
        let mut pcscd = Pcscd::start(2)?;
        let _card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
        pcscd.move_socket(true)?;
        let mut broker = taken_over(&pcscd).await?;
        // pcscd is down when the broker dies, and the door's socket stays behind.
        pcscd.kill()?;
        broker.kill()?;
        assert!(pcscd.run_folder().join("pcscd.comm").exists());
        pcscd.move_socket(false)?;
        assert!(send(&pcscd, COUNT)?.ends_with("9000"));
        Ok(())
    })
}
