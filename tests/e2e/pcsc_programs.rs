//! Programs that use PC/SC, unchanged, on the broker's door: with the library and the programs of the system.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cardbroker_client::{ReaderState, hex};
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_tests::{
    cards::{
        VirtualCard,
        piv::{self, PivCard},
    },
    harness::{
        broker::{Broker, Setup},
        pcscd::Pcscd,
        programs::Program,
        run::{Run, run},
    },
};
use serde_json::Value;

use crate::world::{COUNT, PROTECTED, READER, SELECT, VERIFY, tell, wait_for};

const DIRECT: &str = env!("CARGO_BIN_EXE_direct-pcsc");
const PROGRAMS: usize = 8;
const PAIRS: u64 = 50;
/// PC/SC's name of the first simulated reader.
const SIMULATED: &str = "Simulated Reader 00";

/// A broker on a private pcscd with a card in the first reader, and its door.
struct World {
    broker: Broker,
    card: VirtualCard,
    pcscd: Pcscd,
}

impl World {
    async fn new(lines: &str) -> anyhow::Result<Self> {
        let pcscd = Pcscd::start(2)?;
        let card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
        let broker = Setup::on(&pcscd)?.door(lines).start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        Ok(Self { broker, card, pcscd })
    }

    fn reader(&self) -> String {
        self.pcscd.reader_name(0)
    }
}

/// A command with the door as its PC/SC service.
fn behind(door: PathBuf, program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PCSCLITE_CSOCK_NAME", door);
    command
}

/// Runs a program of the system with the door.
fn run_behind(door: PathBuf, program: &str, arguments: &[&str]) -> anyhow::Result<Run> {
    run(behind(door, program).args(arguments)).with_context(|| format!("cannot run {program}: is it installed?"))
}

/// Sends commands with a program of its own, which leaves the card as it is.
pub(crate) fn send(door: PathBuf, reader: &str, commands: &[&str]) -> anyhow::Result<Vec<String>> {
    let arguments = [&[reader, "--send"], commands].concat();
    let report = Program::spawn(behind(door, DIRECT).args(arguments))?.report()?;
    Ok(serde_json::from_value(report)?)
}

/// Runs pairs in several programs at once; returns the numbers of broken ones.
fn broken_pairs(world: &World, options: &[&str]) -> anyhow::Result<Vec<u64>> {
    let (reader, pairs) = (world.reader(), PAIRS.to_string());
    let arguments = [&[reader.as_str(), "--pairs", &pairs], options].concat();
    let programs: Vec<_> =
        (0..PROGRAMS).map(|_| Program::spawn(behind(world.broker.door(), DIRECT).args(&arguments))).collect();
    let broken = |program: anyhow::Result<Program>| {
        let report = program?.report()?;
        ensure!(report["done"].as_u64().zip(report["broken"].as_u64()).map(|(a, b)| a + b) == Some(PAIRS), "{report}");
        report["broken"].as_u64().context("no number")
    };
    programs.into_iter().map(broken).collect()
}

#[test]
fn eight_programs_break_no_pair() -> anyhow::Result<()> {
    tell(async {
        let world = World::new("").await?;
        assert_eq!(broken_pairs(&world, &["--transactions"])?, [0; PROGRAMS]);
        // Without transactions the card waits 100 ms for the rest of a pair, which a loaded machine may exceed.
        let broken: u64 = broken_pairs(&world, &[])?.iter().sum();
        assert!(broken <= PROGRAMS as u64 * PAIRS / 10, "{broken}");
        Ok(())
    })
}

#[test]
fn one_program_does_not_inherit_anothers_verified_pin() -> anyhow::Result<()> {
    tell(async {
        for (lines, inherited) in [("", "6982"), ("isolation = \"user\"", "9000"), (AT_ONE_READER, "9000")] {
            let world = World::new(lines).await?;
            let mut holder = Program::spawn(
                behind(world.broker.door(), "python3")
                    .args(["-u", "-c", HOLDER, &world.reader(), VERIFY])
                    .env("PATH", "/usr/bin:/bin"),
            )?;
            assert_eq!(holder.line()?, "9000");
            let answers = send(world.broker.door(), &world.reader(), &[PROTECTED])?;
            assert!(answers[0].ends_with(inherited), "{lines}: {answers:?}");
        }
        Ok(())
    })
}

/// As for all readers of `isolation = "user"`.
const AT_ONE_READER: &str = "[[reader]]\nmatch = \".*00 00\"\npcsclite_isolation = \"user\"";

/// A script with pyscard that sends one command, prints the status word, and stays connected.
const HOLDER: &str = "
import sys
from smartcard.System import readers
from smartcard.util import toBytes
reader = next(r for r in readers() if str(r) == sys.argv[1])
connection = reader.createConnection()
connection.connect()
data, sw1, sw2 = connection.transmit(toBytes(sys.argv[2]))
print('%02X%02X' % (sw1, sw2))
sys.stdin.read()
";

/// A script with pyscard: observers of readers and cards, and a transaction.
const OBSERVERS: &str = "
import sys, threading
from smartcard.CardMonitoring import CardMonitor, CardObserver
from smartcard.CardConnectionDecorator import CardConnectionDecorator
from smartcard.ExclusiveTransmitCardConnection import ExclusiveTransmitCardConnection
from smartcard.util import toBytes, toHexString
seen = threading.Event()
cards = []
class Observer(CardObserver):
    def update(self, observable, actions):
        added, removed = actions
        cards.extend(added)
        if added:
            seen.set()
monitor = CardMonitor()
observer = Observer()
monitor.addObserver(observer)
if not seen.wait(20):
    sys.exit('no card')
monitor.deleteObserver(observer)
connection = ExclusiveTransmitCardConnection(cards[0].createConnection())
connection.connect()
connection.lock()
select = connection.transmit(toBytes(sys.argv[1]))
rest = connection.transmit([0, 0xC0, 0, 0, select[2]])
connection.unlock()
connection.disconnect()
print('%02X%02X %d %02X%02X' % (select[1], select[2], len(rest[0]), rest[1], rest[2]))
";

#[test]
fn a_script_with_pyscard_observes_and_locks_cards() -> anyhow::Result<()> {
    tell(async {
        let broker = Setup::simulated(1)?.door("").start()?;
        let script = run_behind(broker.door(), "/usr/bin/python3", &["-c", OBSERVERS, SELECT])?;
        assert_eq!((script.code, script.out.trim()), (Some(0), "6113 19 9000"), "{script:?}");
        Ok(())
    })
}

#[test]
fn opensc_tool_lists_readers_and_talks_to_simulated_cards() -> anyhow::Result<()> {
    tell(async {
        let broker = Setup::simulated(2)?.door("").start()?;
        let listed = run_behind(broker.door(), "opensc-tool", &["--list-readers"])?;
        assert!(listed.out.contains(SIMULATED) && listed.out.contains("Yes"), "{listed:?}");
        let atr = run_behind(broker.door(), "opensc-tool", &["--reader", SIMULATED, "--atr"])?;
        assert!(atr.code == Some(0) && atr.out.to_lowercase().starts_with("3b"), "{atr:?}");
        let sent = run_behind(broker.door(), "opensc-tool", &["--reader", SIMULATED, "--send-apdu", SELECT])?;
        assert!(sent.out.contains("SW1=0x90, SW2=0x00"), "{sent:?}");
        Ok(())
    })
}

#[test]
fn pcsc_scan_lists_the_readers() -> anyhow::Result<()> {
    tell(async {
        let world = World::new("").await?;
        let listed = run_behind(world.broker.door(), "pcsc_scan", &["-n", "-r"])?;
        assert!(listed.out.contains(&world.reader()), "{listed:?}");
        Ok(())
    })
}

#[test]
fn pkcs15_tool_reads_a_piv_card_while_others_do() -> anyhow::Result<()> {
    tell(async {
        let pcscd = Pcscd::start(1)?;
        let _card = PivCard::insert(pcscd.port(0), Duration::ZERO)?;
        let broker = Setup::on(&pcscd)?.door("").start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let alone = run_behind(broker.door(), "pkcs15-tool", &["--dump"])?;
        ensure!(alone.code == Some(0) && alone.out.contains("PIV"), "{alone:?}");
        let three: Vec<_> = (0..3)
            .map(|_| {
                let mut dump = behind(broker.door(), "pkcs15-tool");
                std::thread::spawn(move || run(dump.arg("--dump")))
            })
            .collect();
        for dump in three {
            let dump = dump.join().ok().context("no result")??;
            assert_eq!((dump.code, &dump.out), (Some(0), &alone.out), "{dump:?}");
        }
        let select = hex::format(&piv::select());
        let direct = send(broker.door(), &pcscd.reader_name(0), &[&select])?;
        assert!(direct[0].ends_with("9000"), "{direct:?}");
        Ok(())
    })
}

#[test]
fn a_program_waits_for_a_card_and_sees_it_come_and_go() -> anyhow::Result<()> {
    tell(async {
        let world = World::new("").await?;
        let reader = world.reader();
        let mut program =
            Program::spawn(behind(world.broker.door(), "/usr/bin/python3").args(["-u", "-c", EVENTS, &reader]))?;
        assert_eq!(program.line()?, "present 1");
        world.card.pull();
        assert_eq!(program.line()?, "empty 2");
        world.card.swap(CardOptions::default());
        assert_eq!(program.line()?, "present 3");
        Ok(())
    })
}

/// A script that prints each state of a reader with its event counter.
const EVENTS: &str = "
import sys
from smartcard.scard import *
_, context = SCardEstablishContext(SCARD_SCOPE_USER)
state = SCARD_STATE_UNAWARE
while True:
    result, states = SCardGetStatusChange(context, 20000, [(sys.argv[1], state)])
    if result != SCARD_S_SUCCESS:
        sys.exit(SCardGetErrorMessage(result))
    name, event, atr = states[0]
    flags = event & 0xFFFF
    print('present' if flags & SCARD_STATE_PRESENT else 'empty', event >> 16)
    state = event & ~SCARD_STATE_CHANGED
";

#[test]
fn the_card_passes_on_at_once_from_a_killed_program() -> anyhow::Result<()> {
    tell(async {
        let world = World::new("").await?;
        let arguments = ["-u", "-c", LOCKER, &world.reader(), VERIFY];
        let mut holder = Program::spawn(behind(world.broker.door(), "/usr/bin/python3").args(arguments))?;
        assert_eq!(holder.line()?, "9000");
        drop(holder);
        let began = Instant::now();
        let answers = send(world.broker.door(), &world.reader(), &[PROTECTED])?;
        assert_eq!(answers, ["6982"]);
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        Ok(())
    })
}

/// As [`HOLDER`], in a transaction.
const LOCKER: &str = "
import sys
from smartcard.scard import *
from smartcard.util import toBytes
_, context = SCardEstablishContext(SCARD_SCOPE_USER)
_, card, protocol = SCardConnect(context, sys.argv[1], SCARD_SHARE_SHARED, SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1)
assert SCardBeginTransaction(card) == SCARD_S_SUCCESS
_, answer = SCardTransmit(card, protocol, toBytes(sys.argv[2]))
print('%02X%02X' % tuple(answer[-2:]))
sys.stdin.read()
";

#[test]
fn a_door_of_a_service_manager_is_served_and_left_as_it_is() -> anyhow::Result<()> {
    tell(async {
        let mut broker = Setup::simulated(1)?.door("").inherit_with_door()?.start()?;
        let before = fs::symlink_metadata(broker.door())?;
        wait_for(&broker, "readers/simulated-reader-00", ReaderState::Ready).await?;
        let sent = send(broker.door(), SIMULATED, &[COUNT])?;
        assert!(sent[0].ends_with("9000"), "{sent:?}");
        assert!(broker.stop()?.success(), "{}", broker.log());
        let after = fs::symlink_metadata(broker.door())?;
        assert_eq!((before.ino(), before.mode()), (after.ino(), after.mode()), "neither removed nor chmodded");
        broker.start_again()?;
        wait_for(&broker, "readers/simulated-reader-00", ReaderState::Ready).await?;
        assert!(send(broker.door(), SIMULATED, &[COUNT])?[0].ends_with("9000"));
        fs::remove_file(broker.door())?;
        assert_eq!(broker.wait()?.code(), Some(5), "{}", broker.log());
        Ok(())
    })
}

#[test]
fn the_door_is_named_and_a_broker_refuses_its_own() -> anyhow::Result<()> {
    tell(async {
        let broker = Setup::simulated(1)?.door("").start()?;
        let door = broker.door().display().to_string();
        let log = broker.settled_log();
        assert!(log.contains(&format!("pcsclite={door}")), "{log}");
        let daemon = cardbroker_tests::harness::broker::program("cardbrokerd")?;
        let config = broker.folder().join("cardbrokerd.toml").display().to_string();
        let check = |simulates: &[&str]| {
            run(behind(broker.door(), &daemon.display().to_string())
                .args(["--check-config", "--config", &config])
                .args(simulates))
        };
        let checked = check(&["--simulate", "1"])?;
        assert!(checked.out.contains(&format!("socket = \"{door}\"")), "{checked:?}");
        let refused = check(&[])?;
        assert!(refused.code == Some(3) && refused.err.contains("own PC/SC service"), "{refused:?}");
        let report: Value = serde_json::json!(send(broker.door(), SIMULATED, &[COUNT])?);
        assert!(report[0].as_str().context("no text")?.ends_with("9000"));
        Ok(())
    })
}
