//! Programs that use PC/SC, on pcscd and on the broker's door: alone, at a hand-over, and many at once.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use cardbroker_tests::{
    cards::piv::PivCard,
    harness::{
        broker::{Broker, Setup},
        pcscd::Pcscd,
    },
};

use crate::{
    alone::READ_RECORD,
    hand_over::{TRANSACTION_ENDS, hand_overs},
    report::{Cell, Limit, Table, Target, progress},
    rounds::{Effort, order},
    samples::{Rounds, Samples, Spread},
    stage::{READER, Stage, behind, times, until_ready},
    together::{Crowd, Sharing},
};

/// A handle that keeps its turn, and a transaction with one command, beside pcscd.
const ALONE: [(&str, &str, f64); 2] =
    [("exclusive", "held handle, one APDU", 1.3), ("transaction", "Begin, one APDU, End", 2.0)];

/// The 99th percentile of a hand-over between programs that raise and select nothing, in ns.
const HAND_OVER: f64 = 1e6;

const CLIENTS: u64 = 8;
const COMMAND_MS: u64 = 5;
const COMMANDS: usize = 4;
const LEAST_SHARE: f64 = 0.9;
const WORST_WAIT: f64 = 1.2;

/// Two programs that read a PIV card whose resets take so long, beside one alone.
const RESET: Duration = Duration::from_millis(150);
const COMMAND: Duration = Duration::from_millis(10);
const TWO_READERS: f64 = 4.0;

pub(crate) async fn measure(effort: Effort) -> anyhow::Result<Vec<Table>> {
    Ok(vec![alone(effort).await?, together(effort).await?, two_readers(effort).await?])
}

/// A broker for the stage's reader with an open door.
async fn open(stage: &Stage) -> anyhow::Result<Broker> {
    stage.start(stage.setup()?.door("").log_level("info")).await
}

async fn alone(effort: Effort) -> anyhow::Result<Table> {
    let stage = Stage::new(0, 0)?;
    let (reader, count) = (stage.reader_name(), effort.choose(2_000, 200));
    // For each way the times on pcscd and on the door; the last are the hand-overs.
    let mut series: [[Rounds; 2]; 3] = Default::default();
    for round in 1..=effort.rounds {
        progress(&format!("door, alone, round {round} of {}", effort.rounds));
        let mut one = |by_door: usize, socket: &Path| -> anyhow::Result<()> {
            for index in order(round, ALONE.len()) {
                let mut user = behind(socket, &["units", ALONE[index].0, &reader, READ_RECORD])?;
                times(&mut user, &format!("times {}", count / 10))?;
                series[index][by_door].add(times(&mut user, &format!("times {count}"))?);
            }
            let start = || behind(socket, &["holder", "transaction", &reader]);
            series[2][by_door].add(hand_overs(TRANSACTION_ENDS, &start, effort.choose(20, 3))?);
            Ok(())
        };
        for by_door in order(round, 2) {
            if by_door == 0 {
                one(0, &stage.pcsc_socket())?;
                continue;
            }
            let mut broker = open(&stage).await?;
            one(1, &broker.door())?;
            broker.stop()?;
        }
    }
    let mut rows = Vec::new();
    let mut targets = Vec::new();
    for ((_, name, limit), [direct, by_door]) in ALONE.iter().zip(&series) {
        let ratio = by_door.to(direct);
        for (way, times, ratio) in [("pcscd", direct, Cell::None), ("door", by_door, Cell::Ratio(ratio))] {
            let [p50, p99, max] = Cell::quantiles(times.all());
            rows.push(vec![Cell::text(*name), Cell::text(way), p50, p99, max, ratio]);
        }
        targets.push(Target::new(*name, Limit::AtMost(*limit), ratio));
    }
    let [_, _, [direct, by_door]] = &series;
    for (way, times) in [("pcscd", direct), ("door", by_door)] {
        let [p50, p99, max] = Cell::quantiles(times.all());
        rows.push(vec![Cell::text("hand-over: transaction ends"), Cell::text(way), p50, p99, max, Cell::None]);
    }
    targets.push(Target::new("door: hand-over, p99", Limit::Within(HAND_OVER), by_door.p99()));
    Ok(Table {
        title: "Door, alone",
        about: "Programs that use PC/SC, on pcscd and on the broker's door, with a card that answers at once. \
                The ratio is to pcscd, median to median. The hand-over is from the end of a transaction to the \
                beginning of that of a waiting program; neither sends a command."
            .into(),
        columns: vec!["what", "way", "p50", "p99", "max", "ratio"],
        rows,
        targets,
    })
}

async fn together(effort: Effort) -> anyhow::Result<Table> {
    let stage = Stage::new(COMMAND_MS, 0)?;
    let reader = stage.reader_name();
    let crowd = Crowd::new(CLIENTS, COMMANDS as u64 * COMMAND_MS);
    let mut ways: [(&str, Sharing); 2] = [("pcscd", Sharing::default()), ("door", Sharing::default())];
    let ms = effort.choose(5_000, 2_500);
    for round in 1..=effort.rounds {
        progress(&format!("door, together, round {round} of {}", effort.rounds));
        let arguments = [&["units", "transaction", &reader][..], &[READ_RECORD; COMMANDS]].concat();
        for way in order(round, ways.len()) {
            let sharing = &mut ways[way].1;
            if way == 0 {
                sharing.add(&crowd, &|| behind(&stage.pcsc_socket(), &arguments), ms)?;
                continue;
            }
            let mut broker = open(&stage).await?;
            let door = broker.door();
            sharing.add(&crowd, &|| behind(&door, &arguments), ms)?;
            broker.stop()?;
        }
    }
    let mut rows = Vec::new();
    let mut targets = Vec::new();
    for (way, sharing) in &ways {
        let [shares, worst, _] = sharing.ratios();
        let between = sharing.most_between();
        rows.push(vec![Cell::text(*way), Cell::Ratio(shares), Cell::Ratio(worst), Cell::Ratio(between)]);
        if *way == "door" {
            targets.push(Target::new("8 programs: fewest : most turns", Limit::AtLeast(LEAST_SHARE), shares));
            targets.push(Target::new("8 programs: worst wait", Limit::AtMost(WORST_WAIT), worst));
            let (what, others) = ("8 programs: most turns of others in one wait", CLIENTS as f64 - 1.0);
            targets.push(Target::new(what, Limit::AtMost(others), between));
        }
    }
    Ok(Table {
        title: "Door, together",
        about: "Eight programs run transactions of 4 commands of 5 ms that raise and select nothing, as fast as they \
                can. The ratios: the fewest turns of a program to the most; the longest wait to programs × unit. The \
                last column is the most turns of others in one wait. A busy machine makes turns longer, and with them \
                the longest wait, but not more."
            .into(),
        columns: vec!["way", "fewest : most", "worst wait", "turns of others"],
        rows,
        targets,
    })
}

async fn two_readers(effort: Effort) -> anyhow::Result<Table> {
    let pcscd = Pcscd::start(1)?;
    let card = PivCard::insert(pcscd.port(0), RESET)?;
    card.slow_down(COMMAND);
    let mut broker = Setup::on(&pcscd)?.door("").log_level("info").start()?;
    until_ready(&broker.client().await?, READER).await?;
    let (mut ones, mut twos, mut ratios) = (Samples::default(), Samples::default(), Vec::new());
    for round in 1..=effort.rounds {
        progress(&format!("door, pkcs15-tool, round {round} of {}", effort.rounds));
        let mut lasted = [0; 2];
        for index in order(round, lasted.len()) {
            lasted[index] = dumps(&broker.door(), index + 1)?;
        }
        let [one, two] = lasted;
        ratios.push(two as f64 / one as f64);
        ones.add([one]);
        twos.add([two]);
    }
    broker.stop()?;
    let ratio = Spread::of(&ratios);
    let row = |name: &str, samples: &Samples, ratio| {
        vec![Cell::text(name), Cell::Time(samples.median()), Cell::Time(samples.max()), ratio]
    };
    Ok(Table {
        title: "Door, pkcs15-tool",
        about: "pkcs15-tool --dump on a PIV card whose commands take 10 ms and whose resets take 150 ms: one program \
                alone, and the time in which two at once, each an isolation group, have both ended."
            .into(),
        columns: vec!["programs", "p50", "max", "ratio"],
        rows: vec![row("one", &ones, Cell::None), row("two at once", &twos, Cell::Ratio(ratio))],
        targets: vec![Target::new("two pkcs15-tool --dump", Limit::AtMost(TWO_READERS), ratio)],
    })
}

/// The time in which so many programs at once have read the card, in ns.
fn dumps(door: &Path, count: usize) -> anyhow::Result<i64> {
    let began = Instant::now();
    let start = |_| {
        let mut dump = Command::new("pkcs15-tool");
        dump.arg("--dump").env("PCSCLITE_CSOCK_NAME", door).stdout(Stdio::null()).stderr(Stdio::null());
        dump.spawn().context("cannot run pkcs15-tool: is opensc installed?")
    };
    let mut programs = (0..count).map(start).collect::<anyhow::Result<Vec<_>>>()?;
    for program in &mut programs {
        ensure!(program.wait()?.success(), "pkcs15-tool has failed");
    }
    Ok(crate::samples::nanoseconds(began.elapsed()))
}
