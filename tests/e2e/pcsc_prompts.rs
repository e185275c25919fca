//! How often people are asked for PINs while several programs use cards, by PC/SC service: gpg, a PKCS#11 program and
//! two observers, or a script and one observer. The numbers in docs/pcsc-programs.md are of this program: `PROMPTS=120`
//! measures all services, 120 s each.

mod script;

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cardbroker_client::ReaderState;
use cardbroker_tests::{
    cards::{
        openpgp::OpenPgpCard,
        piv::{PIN, PivCard},
    },
    harness::{
        broker::{Broker, Setup},
        pcscd::Pcscd,
        programs::Program,
        run::run,
    },
};

use crate::{
    pcsc_gpg::Gnupg,
    piv_world::opensc_module,
    world::{READER, tell_within, wait_for},
};

/// The time of the run that all tests make, in which the broker takes the card from scdaemon once.
const SHORT: Duration = Duration::from_secs(24);
const PIV_READER: &str = "readers/virtual-pcd-a-00-01";
const GPG_PERIOD: Duration = Duration::from_secs(8);
const PKCS11_PERIOD: Duration = Duration::from_secs(4);
const LOOK_PERIOD: Duration = Duration::from_secs(5);

/// The PC/SC services, and the lines of the door's configuration; `None` for pcscd.
const SERVICES: [(&str, Option<&str>); 4] = [
    ("pcscd", None),
    ("door, isolation = \"process\"", Some("")),
    ("door, isolation = \"user\"", Some("isolation = \"user\"")),
    ("door, exclusive = \"strict\"", Some("exclusive = \"strict\"")),
];

/// A program with OpenSC's PKCS#11 module, which stays and signs once for each line of its input. It logs in when the
/// module says that it must, and says so: there a person is asked for the PIN.
const SIGNER: &str = "
import ctypes, sys, time
from ctypes import byref, c_char_p, c_ulong, c_void_p
module, reader, pin = ctypes.CDLL(sys.argv[1]), sys.argv[2].encode(), sys.argv[3].encode()
class Attribute(ctypes.Structure):
    _fields_ = [('type', c_ulong), ('value', c_void_p), ('length', c_ulong)]
class Mechanism(ctypes.Structure):
    _fields_ = [('mechanism', c_ulong), ('parameter', c_void_p), ('length', c_ulong)]
for name in 'Initialize GetSlotList GetSlotInfo OpenSession Login FindObjectsInit FindObjects SignInit Sign'.split():
    getattr(module, 'C_' + name).restype = c_ulong
def check(result):
    if result:
        raise OSError(hex(result))
check(module.C_Initialize(None))
def described(slot):
    info = ctypes.create_string_buffer(256)
    check(module.C_GetSlotInfo(slot, info))
    return info.raw
def find_slot():
    slots, count = (c_ulong * 16)(), c_ulong(16)
    check(module.C_GetSlotList(1, slots, byref(count)))
    return [c_ulong(slot) for slot in slots[:count.value] if described(slot).startswith(reader)]
found, deadline = [], time.time() + 20
while not found and time.time() < deadline:
    found = find_slot()
    time.sleep(0.1)
slot = found[0]
session = c_ulong()
check(module.C_OpenSession(slot, c_ulong(4), None, None, byref(session)))
def log_in():
    print('prompt')
    result = module.C_Login(session, c_ulong(1), c_char_p(pin), c_ulong(len(pin)))
    if result != 0x100:
        check(result)
log_in()
private = c_ulong(3)
wanted = Attribute(0, ctypes.cast(byref(private), c_void_p), 8)
check(module.C_FindObjectsInit(session, byref(wanted), c_ulong(1)))
key, found = c_ulong(), c_ulong()
check(module.C_FindObjects(session, byref(key), c_ulong(1), byref(found)))
check(module.C_FindObjectsFinal(session))
def sign():
    mechanism, room, length = Mechanism(0x1041, None, 0), (ctypes.c_ubyte * 128)(), c_ulong(128)
    result = module.C_SignInit(session, byref(mechanism), key)
    return result or module.C_Sign(session, (ctypes.c_ubyte * 32)(*[7] * 32), c_ulong(32), room, byref(length))
for line in sys.stdin:
    result = sign()
    if result == 0x101:
        log_in()
        result = sign()
    print('signed' if result == 0 else 'failed %#x' % result)
";

/// The cards, and the service that all programs use.
struct World {
    _cards: (OpenPgpCard, PivCard),
    _broker: Option<Broker>,
    pcscd: Pcscd,
    service: PathBuf,
    gnupg: Gnupg,
}

/// The calls of one program: those that succeeded, those that failed, and the time of the longest one.
#[derive(Debug, Default)]
struct Tally {
    done: u32,
    failed: u32,
    longest: Duration,
}

impl Tally {
    /// Has `call` made once in each period until the end.
    fn of(period: Duration, end: Instant, mut call: impl FnMut() -> anyhow::Result<()>) -> Self {
        let mut tally = Self::default();
        let mut next = Instant::now();
        while next < end {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            let began = Instant::now();
            match call() {
                Ok(()) => tally.done += 1,
                Err(_) => tally.failed += 1,
            }
            tally.longest = tally.longest.max(began.elapsed());
            next = (next + period).max(Instant::now());
        }
        tally
    }
}

#[derive(Debug)]
struct Report {
    gpg: Tally,
    gpg_prompts: usize,
    pkcs11: Tally,
    pkcs11_prompts: usize,
    /// `opensc-tool --name` at the cards of gpg and of the PKCS#11 program.
    looks: [Tally; 2],
}

impl World {
    /// Returns the world with the PKCS#11 program in it.
    async fn new(door: Option<&str>) -> anyhow::Result<(Self, Program)> {
        let pin: String = (0..8).map(|_| fastrand::digit(10)).collect();
        let pcscd = Pcscd::start(2)?;
        let openpgp = OpenPgpCard::insert_signer(pcscd.port(0), &pin)?;
        let piv = PivCard::insert(pcscd.port(1), Duration::ZERO)?;
        let broker = door.map(|lines| Setup::on(&pcscd)?.door(lines).start()).transpose()?;
        if let Some(broker) = &broker {
            wait_for(broker, READER, ReaderState::Ready).await?;
            wait_for(broker, PIV_READER, ReaderState::Ready).await?;
        }
        let service = broker.as_ref().map_or_else(|| pcscd.socket(), Broker::door);
        let gnupg = Gnupg::new(service.clone(), &pin)?;
        gnupg.use_reader(&pcscd.reader_name(0))?;
        let signer = signer(&service, &piv, &pcscd.reader_name(1), gnupg.home())?;
        gnupg.gpg(&["--card-status"])?;
        gnupg.gpg(&["--quick-generate-key", "Jane <jane@example.org>", "card", "sign", "never"])?;
        Ok((Self { _cards: (openpgp, piv), _broker: broker, pcscd, service, gnupg }, signer))
    }

    fn look(&self, reader: usize) -> anyhow::Result<()> {
        look(&self.service, &self.pcscd.reader_name(reader))
    }

    fn measure(&self, mut signer: Program, time: Duration) -> Report {
        let (world, end) = (self, Instant::now() + time);
        let (gpg, (pkcs11, pkcs11_prompts), looks) = thread::scope(|scope| {
            let gpg = scope.spawn(move || {
                let mut number = 0;
                Tally::of(GPG_PERIOD, end, || {
                    number += 1;
                    world.gnupg.sign(&number.to_string())
                })
            });
            let looks = [0, 1].map(|reader| scope.spawn(move || Tally::of(LOOK_PERIOD, end, || world.look(reader))));
            let mut prompts = 1;
            let pkcs11 = Tally::of(PKCS11_PERIOD, end, || {
                signer.say("sign")?;
                let mut line = signer.line()?;
                if line == "prompt" {
                    prompts += 1;
                    line = signer.line()?;
                }
                ensure!(line == "signed", "{line}");
                Ok(())
            });
            let looks = looks.map(|look| look.join().unwrap_or_default());
            (gpg.join().unwrap_or_default(), (pkcs11, prompts), looks)
        });
        Report { gpg, gpg_prompts: self.gnupg.prompts(), pkcs11, pkcs11_prompts, looks }
    }
}

/// Looks at the card in a reader as a program does that wants to know its kind.
fn look(service: &Path, reader: &str) -> anyhow::Result<()> {
    let mut tool = Command::new("opensc-tool");
    tool.args(["--reader", reader, "--name"]).env("PCSCLITE_CSOCK_NAME", service);
    let looked = run(&mut tool).context("is opensc installed?")?;
    ensure!(looked.code == Some(0), "{looked:?}");
    Ok(())
}

/// Starts the PKCS#11 program, which has logged in once.
fn signer(service: &Path, card: &PivCard, reader: &str, home: &Path) -> anyhow::Result<Program> {
    let key = home.join("9a.der");
    fs::write(&key, card.public_key_info())?;
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-u", "-c", SIGNER]).arg(opensc_module()?).args([reader, PIN]).env("PIV_9A_KEY", key);
    let mut signer = Program::spawn(python.env("PCSCLITE_CSOCK_NAME", service))?;
    ensure!(signer.line()? == "prompt");
    Ok(signer)
}

/// The time of each run; `None` for a short run at some of the services.
fn asked_time() -> anyhow::Result<Option<Duration>> {
    Ok(env::var("PROMPTS").ok().map(|seconds| seconds.parse().map(Duration::from_secs)).transpose()?)
}

/// The prompts of a run in an hour, beyond those at its beginning.
fn in_an_hour(prompts: usize, time: Duration) -> u64 {
    let further = u64::try_from(prompts).unwrap_or(u64::MAX).saturating_sub(1);
    1 + further * 3600 / time.as_secs().max(1)
}

#[test]
fn prompts_for_pins_are_few_where_programs_share_cards() -> anyhow::Result<()> {
    let asked = asked_time()?;
    let time = asked.unwrap_or(SHORT);
    let services = if asked.is_some() { &SERVICES[..] } else { &SERVICES[2..3] };
    let limit = u32::try_from(services.len())? * (time + Duration::from_secs(120));
    tell_within(limit, async {
        for (name, door) in services {
            let (world, signer) = World::new(*door).await?;
            let report = world.measure(signer, time);
            let hourly = [report.gpg_prompts, report.pkcs11_prompts].map(|prompts| in_an_hour(prompts, time));
            writeln!(io::stderr(), "{name}: prompts in an hour, gpg and PKCS#11: {hourly:?}; {report:?}")?;
            assert_eq!((report.pkcs11.failed, report.pkcs11_prompts), (0, 1), "{name}: {report:?}");
            assert!(report.gpg.done > report.gpg.failed, "{name}: {report:?}");
            let gives_way = door.is_some_and(|lines| !lines.contains("strict"));
            assert!(!gives_way || report.looks.iter().all(|look| look.failed == 0), "{name}: {report:?}");
        }
        Ok(())
    })
}
