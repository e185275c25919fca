//! A script that keeps no PIN, beside a program that looks at the same card: how often a person is asked.

use std::{
    io::{self, Write},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;
use cardbroker_client::{ReaderState, hex};
use cardbroker_tests::{
    cards::piv::{self, PIN, PivCard},
    harness::{
        broker::{Broker, Setup},
        pcscd::Pcscd,
        programs::Program,
    },
};

use super::{LOOK_PERIOD, SERVICES, Tally, asked_time, in_an_hour, look};
use crate::world::{READER, tell_within, wait_for};

/// The time of the run that all tests make, with three looks at the card.
const SHORT: Duration = Duration::from_secs(12);
const SIGN_PERIOD: Duration = Duration::from_secs(2);

/// A script that stays connected and signs once for each line of its input. Where the card demands the PIN it presents
/// it, and says so: there a person is asked.
const SIGNER: &str = "
import sys
from smartcard.scard import *
from smartcard.util import toBytes
reader, select, verify, sign = sys.argv[1], *map(toBytes, sys.argv[2:])
protocols = SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1
class Changed(Exception):
    pass
def check(result):
    if result == SCARD_W_RESET_CARD:
        raise Changed
    if result != SCARD_S_SUCCESS:
        raise OSError(SCardGetErrorMessage(result))
result, context = SCardEstablishContext(SCARD_SCOPE_USER)
check(result)
result, card, protocol = SCardConnect(context, reader, SCARD_SHARE_SHARED, protocols)
check(result)
def send(command):
    result, answer = SCardTransmit(card, protocol, command)
    check(result)
    return '%02X%02X' % tuple(answer[-2:])
def signature():
    check(SCardBeginTransaction(card))
    try:
        if send(sign) == '9000':
            return 'signed'
        send(select)
        status = send(sign)
        if status == '6982':
            print('prompt')
            send(verify)
            status = send(sign)
        return 'signed' if status == '9000' else status
    finally:
        SCardEndTransaction(card, SCARD_LEAVE_CARD)
def outcome():
    while True:
        try:
            return signature()
        except Changed:
            check(SCardReconnect(card, SCARD_SHARE_SHARED, protocols, SCARD_LEAVE_CARD)[0])
for line in sys.stdin:
    print(outcome())
";

#[derive(Debug)]
struct Report {
    signatures: Tally,
    prompts: usize,
    /// `opensc-tool --name` at the same card.
    looks: Tally,
}

async fn measure(door: Option<&str>, time: Duration) -> anyhow::Result<Report> {
    let pcscd = Pcscd::start(1)?;
    let _card = PivCard::insert(pcscd.port(0), Duration::ZERO)?;
    let broker = door.map(|lines| Setup::on(&pcscd)?.door(lines).start()).transpose()?;
    if let Some(broker) = &broker {
        wait_for(broker, READER, ReaderState::Ready).await?;
    }
    let service = broker.as_ref().map_or_else(|| pcscd.socket(), Broker::door);
    let reader = pcscd.reader_name(0);
    let mut script = script(&service, &reader)?;
    let (mut prompts, end) = (0, Instant::now() + time);
    let (signatures, looks) = thread::scope(|scope| {
        let looks = scope.spawn(|| Tally::of(LOOK_PERIOD, end, || look(&service, &reader)));
        let signatures = Tally::of(SIGN_PERIOD, end, || {
            script.say("sign")?;
            let mut line = script.line()?;
            while line == "prompt" {
                prompts += 1;
                line = script.line()?;
            }
            ensure!(line == "signed", "{line}");
            Ok(())
        });
        (signatures, looks.join().unwrap_or_default())
    });
    Ok(Report { signatures, prompts, looks })
}

fn script(service: &Path, reader: &str) -> anyhow::Result<Program> {
    let commands = [piv::select(), piv::verify(PIN), piv::sign(&[7; 32])].map(|command| hex::format(&command));
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-u", "-c", SIGNER, reader]).args(commands).env("PCSCLITE_CSOCK_NAME", service);
    Program::spawn(&mut python)
}

#[test]
fn a_script_asks_again_only_where_programs_are_kept_apart() -> anyhow::Result<()> {
    let asked = asked_time()?;
    let time = asked.unwrap_or(SHORT);
    // Strict share modes are for exclusive handles, of which there are none here.
    let services = if asked.is_some() { &SERVICES[..3] } else { &SERVICES[1..3] };
    let limit = u32::try_from(services.len())? * (time + Duration::from_secs(60));
    tell_within(limit, async {
        for (name, door) in services {
            let report = measure(*door, time).await?;
            let hourly = in_an_hour(report.prompts, time);
            writeln!(io::stderr(), "{name}: prompts of a script in an hour: {hourly}; {report:?}")?;
            assert_eq!((report.signatures.failed, report.looks.failed), (0, 0), "{name}: {report:?}");
            match *door == Some("") {
                true => assert!(report.prompts > 1, "{name}: {report:?}"),
                false => assert_eq!(report.prompts, 1, "{name}: {report:?}"),
            }
        }
        Ok(())
    })
}
