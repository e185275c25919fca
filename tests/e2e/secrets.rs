//! A PIN leaks nowhere: a random one is verified, changed, repeated, left waiting and lost, with the most verbose log;
//! then all output, and all of the broker's memory, is searched for it.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::ensure;
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use cardbroker_client::{Client, ReaderState, hex};
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_proto::{GROUP_METADATA, GROUP_VARIABLE};
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{
        broker::{Broker, Setup},
        memory::Memory,
        pcscd::Pcscd,
        programs::Program,
        run::{cardbroker, run, run_with_input},
    },
};
use tonic::{Request, metadata::MetadataValue};

use crate::{
    conversation::{Conversation, opening},
    wire::{command, request, stub},
    world::{INCREMENT, LONG, LONGEST, READER, SELECT, arrived, fault, slow, tell, unit, wait_for},
};

const TALKATIVE: &str =
    "trace,h2=trace,hyper=trace,hyper_util=trace,tonic=trace,tower=trace,tower_http=trace,tokio=trace,tokio_util=trace";

/// Secret random bytes of a story; random, so that neither half occurs by chance.
#[derive(Clone, Copy)]
pub(crate) struct Marker([u8; 16]);

impl Marker {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let mut bytes = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self(bytes))
    }

    pub(crate) fn hex(&self) -> String {
        hex::format(&self.0)
    }

    /// Both halves in every form in which a program may print them.
    fn forms(&self) -> Vec<Vec<u8>> {
        self.0.chunks(8).flat_map(forms).collect()
    }

    /// Both halves as they are, with the bytes of each 32-bit word reversed, as a hash function reads them, and as
    /// hexadecimal text.
    pub(crate) fn in_memory(&self) -> Vec<Vec<u8>> {
        let text = |half: &[u8]| hex::format(half).into_bytes();
        let words = |half: &[u8]| half.chunks(4).flat_map(|word| word.iter().rev().copied()).collect();
        let of_half = |half: &[u8]| [half.to_vec(), words(half), text(half), text(half).to_ascii_lowercase()];
        self.0.chunks(8).flat_map(of_half).collect()
    }
}

/// Bytes as they are, and as hexadecimal, decimal, escaped and base64 text, in the usual punctuation.
pub(crate) fn forms(bytes: &[u8]) -> Vec<Vec<u8>> {
    let listed = |separator: &str, write: fn(&u8) -> String| {
        bytes.iter().map(write).collect::<Vec<_>>().join(separator).into_bytes()
    };
    let lower = |byte: &u8| format!("{byte:02x}");
    let upper = |byte: &u8| format!("{byte:02X}");
    let mut forms = vec![bytes.to_vec(), bytes.escape_ascii().to_string().into_bytes()];
    for separator in ["", " ", ":", ", ", "\\x", ", 0x"] {
        forms.extend([listed(separator, lower), listed(separator, upper)]);
    }
    forms.extend([", ", ",", " "].map(|separator| listed(separator, u8::to_string)));
    // In base64 the text depends on the bytes before; characters shared with neighbours are left out.
    for before in 0..3 {
        let text = BASE64_STANDARD_NO_PAD.encode([&vec![0; before], bytes].concat());
        let end = (before + bytes.len()) * 8 / 6;
        forms.push(text.as_bytes()[(before * 8).div_ceil(6)..end].to_vec());
    }
    forms
}

/// Fails if one of `markers` occurs in a program's output.
fn assert_unprinted(markers: &[Marker], who: &str, printed: &str) {
    for form in markers.iter().flat_map(Marker::forms) {
        let found = memchr::memmem::find(printed.as_bytes(), &form);
        let line =
            found.map(|at| &printed[printed[..at].rfind('\n').unwrap_or(0)..]).and_then(|rest| rest.lines().nth(1));
        assert!(found.is_none(), "{who} has printed {}: {line:?}", form.escape_ascii());
    }
}

/// The scene of a story: a broker that logs everything, and a card.
struct Scene {
    broker: Broker,
    reader: &'static str,
    pin: Marker,
    real: Option<(Pcscd, VirtualCard)>,
}

impl Scene {
    /// The PIN is a wrong one: the card, which is in the broker's process, never learns it.
    fn simulated() -> anyhow::Result<Self> {
        let broker = talkative(Setup::simulated(1)?)?;
        Ok(Self { broker, reader: "readers/simulated-reader-00", pin: Marker::new()?, real: None })
    }

    /// The PIN is the card's own.
    fn pcsc() -> anyhow::Result<Self> {
        let pin = Marker::new()?;
        let pcscd = Pcscd::start(2)?;
        let card = VirtualCard::insert(pcscd.port(0), with_pin(pin))?;
        let broker = talkative(Setup::on(&pcscd)?)?;
        Ok(Self { broker, reader: READER, pin, real: Some((pcscd, card)) })
    }

    async fn ready(&self) -> anyhow::Result<()> {
        wait_for(&self.broker, self.reader, ReaderState::Ready).await.map(drop)
    }

    fn verify(&self) -> String {
        format!("0020008010{}", self.pin.hex())
    }

    /// Other commands with the PIN, which pass through the broker. The card implements the first of them.
    fn others(&self) -> [String; 5] {
        let pin = self.pin.hex();
        [
            format!("0024008020{pin}{pin}"),
            format!("002C008020{pin}{pin}"),
            format!("1020008010{pin}"),
            format!("0C20008010{pin}"),
            format!("00C2000010{pin}00"),
        ]
    }
}

fn talkative(setup: Setup) -> anyhow::Result<Broker> {
    setup.configuration("log.apdus = true").log_level(TALKATIVE).start()
}

pub(crate) fn with_pin(pin: Marker) -> CardOptions {
    // Cards are copied at every turn, so their PIN has no owner; a few bytes for each story.
    CardOptions { pin: Box::leak(Box::new(pin.0)), ..CardOptions::default() }
}

/// Sends the PIN through the Rust client: alone, in a session, twice under one id, and where it is refused or fails.
async fn is_used(scene: &Scene) -> anyhow::Result<()> {
    let (client, verify) = (scene.broker.client().await?, scene.verify());
    let send = |apdus: &[&str]| unit(&client, scene.reader, apdus).send();
    send(&[SELECT, &verify]).await?;
    for other in &scene.others() {
        send(&[other]).await?;
    }
    let id = scene.pin.0.map(|byte| !byte);
    for replayed in [false, true] {
        let once = unit(&client, scene.reader, &[&verify]).request_id(id).send().await?;
        assert_eq!(once.replayed, replayed);
    }

    let mut session = Conversation::open(&stub(&scene.broker).await?, opening(scene.reader)).await?;
    let verified = session.run(&[&verify]).await;
    // The simulated card has another PIN, so the tries have run out by now.
    assert!(if scene.real.is_some() { verified == "1: 9000" } else { verified.starts_with("1: 6") }, "{verified}");
    assert_eq!(session.close().await, ["over: OK"]);

    let malformed = format!("0020008011{}", scene.pin.hex());
    let mut wrong = request(scene.reader, &[]);
    wrong.commands = vec![command(hex::parse(&malformed)?.to_vec())];
    assert!(stub(&scene.broker).await?.transmit(wrong).await.is_err());
    let mut too_long = request(scene.reader, &[&verify]);
    too_long.commands[0] = command(scene.pin.0.repeat(70_000));
    assert!(stub(&scene.broker).await?.transmit(too_long).await.is_err());
    assert!(send(&[&verify, &fault(6, 0, 0), &verify]).await.is_err());
    scene.ready().await
}

/// Sends the PIN to a card that is removed.
async fn is_lost_with_the_card(scene: &Scene) -> anyhow::Result<()> {
    let (client, verify) = (scene.broker.client().await?, scene.verify());
    match &scene.real {
        Some((_, card)) => {
            card.hang_next(LONG);
            let in_flight = tokio::spawn(unit(&client, scene.reader, &[&verify]).send());
            assert!(card.wait_until(LONG, |seen| seen.hanging));
            card.pull();
            assert!(in_flight.await?.is_err());
            card.swap(with_pin(scene.pin));
        }
        None => assert!(unit(&client, scene.reader, &[&verify, &fault(1, 0, 100), &verify]).send().await.is_err()),
    }
    scene.ready().await
}

/// Types the PIN into the command line; returns all output.
fn is_typed(scene: &Scene, group: Marker) -> anyhow::Result<Vec<String>> {
    let (verify, wrong) = (scene.verify(), format!("0020008010{}zz", scene.pin.hex()));
    let mut printed = Vec::new();
    for (arguments, input) in [
        (["transmit", scene.reader, "-"].as_slice(), format!("{verify}\n{INCREMENT}\n")),
        (&["transmit", scene.reader, "-", "--json"], format!("{verify}\n")),
        (&["transmit", scene.reader, "-"], format!("{wrong}\n")),
        (&["session", scene.reader], format!("{verify}\n{INCREMENT}\n{wrong}\n")),
        (&["session", scene.reader, "--json"], format!("{verify}\n")),
    ] {
        let mut command: Command = cardbroker(&scene.broker.endpoint(), arguments)?;
        let run = run_with_input(command.env(GROUP_VARIABLE, group.hex()), &input)?;
        printed.extend([run.out, run.err]);
    }
    Ok(printed)
}

/// Puts the PIN in a unit that waits behind a session and leaves without a turn. Returns the copies that the broker's
/// memory held meanwhile.
async fn waits_in_vain(scene: &Scene, memory: Option<&Memory>) -> anyhow::Result<Vec<String>> {
    let (client, verify): (Client, _) = (scene.broker.client().await?, scene.verify());
    let session = Conversation::open(&stub(&scene.broker).await?, opening(scene.reader)).await?;
    let waiting = arrived(&client, unit(&client, scene.reader, &[&slow(1), &verify])).await?;
    let found = memory.map(|memory| memory.find(&[&scene.pin.0])).transpose()?;
    drop(waiting);
    let impatient = unit(&client, scene.reader, &[&verify]).wait_timeout(Duration::from_millis(50));
    assert!(impatient.send().await.is_err());
    drop(session);
    Ok(found.unwrap_or_default())
}

/// Sends secrets in the headers of a call: the key of a group, and a credential as the TCP listener accepts it.
async fn is_called_with(scene: &Scene, group: Marker, credential: Marker) -> anyhow::Result<()> {
    for _ in 0..2 {
        let mut call = Request::new(request(scene.reader, &[SELECT]));
        call.metadata_mut().insert(GROUP_METADATA, MetadataValue::try_from(group.hex())?);
        call.metadata_mut().insert("authorization", MetadataValue::try_from(format!("Bearer {}", credential.hex()))?);
        stub(&scene.broker).await?.transmit(call).await?;
    }
    Ok(())
}

/// The broker's memory, if this user may read it.
pub(crate) fn memory(broker: &Broker) -> anyhow::Result<Option<Memory>> {
    let memory = Memory::of(broker.pid()?)?;
    if memory.is_none() {
        ensure!(std::env::var_os("CI").is_none(), "only root may search the broker's memory: run the tests as root");
        writeln!(io::stderr(), "NOT TESTED: only root may search the broker's memory")?;
    }
    Ok(memory)
}

fn a_pin_leaves_no_trace(scene: fn() -> anyhow::Result<Scene>) -> anyhow::Result<()> {
    tell(async {
        let scene = scene()?;
        let (group, credential) = (Marker::new()?, Marker::new()?);
        scene.ready().await?;
        let memory = memory(&scene.broker)?;

        is_used(&scene).await?;
        is_lost_with_the_card(&scene).await?;
        let printed = is_typed(&scene, group)?;
        is_called_with(&scene, group, credential).await?;
        let waiting = waits_in_vain(&scene, memory.as_ref()).await?;
        assert!(memory.is_none() || !waiting.is_empty(), "a PIN that waits is found, or the search finds nothing");

        let log = scene.broker.settled_log();
        for told in ["h2::", "cardbroker::apdu", "F04341524401", "00200080", "log.apdus is on"] {
            assert!(log.contains(told), "the log does not contain {told}");
        }
        let markers = [scene.pin, group, credential];
        assert_unprinted(&markers, "the broker", &log);
        for text in &printed {
            assert_unprinted(&markers, "the command line", text);
        }
        if let Some((pcscd, _)) = &scene.real {
            assert_unprinted(&markers, "pcscd", &pcscd.log());
        }

        match memory {
            Some(memory) => until_gone(&memory, scene.pin, "at the end").await,
            None => Ok(()),
        }
    })
}

/// Fails if the PIN stays in the broker's memory. The broker notices closed connections within moments.
pub(crate) async fn until_gone(memory: &Memory, pin: Marker, when: &str) -> anyhow::Result<()> {
    let needles = pin.in_memory();
    let needles: Vec<_> = needles.iter().map(Vec::as_slice).collect();
    let begun = Instant::now();
    loop {
        let found = memory.find(&needles)?;
        if found.is_empty() {
            return Ok(());
        }
        let (count, some) = (found.len(), &found[..found.len().min(8)]);
        ensure!(
            begun.elapsed() < LONGEST,
            "the broker's memory holds the PIN {count} times {when}:\n{}",
            some.join("\n")
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn a_wrong_pin_leaves_no_trace_with_simulated_readers() -> anyhow::Result<()> {
    a_pin_leaves_no_trace(Scene::simulated)
}

#[test]
fn the_right_pin_leaves_no_trace_with_real_readers() -> anyhow::Result<()> {
    a_pin_leaves_no_trace(Scene::pcsc)
}

/// Presents a PIN by a program that uses PC/SC, to a broker with the settings that `adapt` changes.
pub(crate) fn a_pcsc_programs_pin_leaves_no_trace(adapt: fn(Setup) -> Setup) -> anyhow::Result<()> {
    tell(async {
        let pin = Marker::new()?;
        let pcscd = Pcscd::start(1)?;
        let _card = VirtualCard::insert(pcscd.port(0), with_pin(pin))?;
        let setup = Setup::on(&pcscd)?.configuration("log.apdus = true\n").door("").log_level(TALKATIVE);
        let broker = adapt(setup).start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let memory = memory(&broker)?;
        let hex = pin.hex();
        let commands = [format!("0020008010{hex}"), format!("0024008020{hex}{hex}"), "00B0810005".to_owned()];
        let program = || {
            let mut program = Command::new(env!("CARGO_BIN_EXE_direct-pcsc"));
            program.arg(pcscd.reader_name(0)).env("PCSCLITE_CSOCK_NAME", broker.door());
            program
        };
        let used = run(program().arg("--send").args(&commands))?;
        ensure!(used.code == Some(0) && used.out.matches("9000").count() == 3, "{used:?}");
        let log = broker.settled_log();
        assert!(log.contains("00200080"), "{log}");
        assert_unprinted(&[pin], "the broker", &log);
        let Some(memory) = memory else { return Ok(()) };
        until_gone(&memory, pin, "after the program").await?;
        let mut staying = Program::spawn(program().args(["--stay", "--send", &commands[0]]))?;
        ensure!(staying.line()?.contains("9000"));
        until_gone(&memory, pin, "while the program keeps its context").await
    })
}

#[test]
fn the_pin_of_a_pcsc_program_leaves_no_trace() -> anyhow::Result<()> {
    a_pcsc_programs_pin_leaves_no_trace(|setup| setup)
}

#[test]
fn a_crash_leaves_no_core_file() -> anyhow::Result<()> {
    let broker = Setup::simulated(1)?.start()?;
    let told = |file: &str| {
        fs::read_to_string(format!("/proc/{}/{file}", broker.pid()?.as_raw_nonzero())).map_err(anyhow::Error::from)
    };
    let (limits, status) = (told("limits")?, told("status")?);
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap_or_default();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>(), ["0", "0", "bytes"], "{limits}");
    assert!(status.contains("Umask:\t0077"), "{status}");
    Ok(())
}
