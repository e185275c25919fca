//! Many readers, watchers, clients and sessions: the broker's cost of an operation, and its memory.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use cardbroker_client::{Client, Session, Watch, hex};
use cardbroker_tests::harness::broker::{Broker, Setup};
use tokio::task::JoinSet;

use crate::{
    alone::READ_RECORD,
    report::{Cell, Limit, Table, Target, progress},
    rounds::{Effort, order},
    samples::{Samples, Spread, nanoseconds},
    stage::until_ready,
};

/// Answered at once; then another card is in the reader.
const SWAP: &str = "80F003000400000000";

/// The limit for the cost of an operation with the maximum of something, relative to the cost with one.
const FLAT: f64 = 1.5;
/// The same for clients, of which more than readers wait for each other.
const FLAT_CLIENTS: f64 = 1.3;
/// The limit for the memory of one session, in KiB.
const SESSION_LIMIT: f64 = 100.0;

/// The number of readers in the case of many clients.
const SHARED_READERS: usize = 16;
const STREAMS_PER_CONNECTION: usize = 100;
const SWAPS: u32 = 10;

/// The thing that there are many of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Many {
    Readers,
    /// Watchers that have nothing to report.
    Idle,
    /// Watchers that report a swapped card.
    Watchers,
    Clients,
}

impl Many {
    fn name(self) -> &'static str {
        match self {
            Self::Readers => "readers",
            Self::Idle => "watch streams, idle",
            Self::Watchers => "watch streams, a swapped card",
            Self::Clients => "clients of 16 readers",
        }
    }

    /// The number of them whose cost the others are compared with: below it, nothing is shared yet.
    fn base(self) -> usize {
        match self {
            Self::Readers | Self::Idle => 1,
            Self::Watchers => 100,
            Self::Clients => SHARED_READERS,
        }
    }

    /// The limit for the cost with the maximum of them, relative to the cost with the base.
    fn limit(self) -> f64 {
        if self == Self::Clients { FLAT_CLIENTS } else { FLAT }
    }
}

pub(crate) async fn measure(effort: Effort) -> anyhow::Result<Vec<Table>> {
    let counts: [(Many, &[usize]); 4] = [
        (Many::Readers, effort.choose(&[1, 16, 64, 256], &[1, 16])),
        (Many::Idle, effort.choose(&[1, 100, 1_000, 2_000], &[1, 100])),
        (Many::Watchers, effort.choose(&[1, 100, 1_000, 2_000], &[1, 100])),
        (Many::Clients, effort.choose(&[1, 16, 64, 256], &[1, 16])),
    ];
    let mut points: Vec<_> =
        counts.iter().flat_map(|(many, counts)| counts.iter().map(|count| Point::new(*many, *count))).collect();
    for round in 1..=effort.rounds {
        for index in order(round, points.len()) {
            let Point { many, count, readings } = &mut points[index];
            progress(&format!("scale: {count} {}, round {round} of {}", many.name(), effort.rounds));
            readings.push(reading(*many, *count, effort).await?);
        }
    }
    Ok(vec![table(&points), sessions(effort.choose(256, 16), effort.rounds).await?])
}

/// One number of something, with one reading for each round.
struct Point {
    many: Many,
    count: usize,
    readings: Vec<Reading>,
}

impl Point {
    fn new(many: Many, count: usize) -> Self {
        Self { many, count, readings: Vec::new() }
    }

    /// The medians of the rounds: the latency, the cost and the memory.
    fn medians(&self) -> [f64; 3] {
        let of = |value: fn(&Reading) -> f64| Spread::of(&self.readings.iter().map(value).collect::<Vec<_>>()).median;
        [of(|reading| reading.latency as f64), of(|reading| reading.cost), of(|reading| reading.memory)]
    }

    /// The cost of an operation as a ratio to that of another number, round by round.
    fn to(&self, base: &Self) -> Spread {
        let ratios = self.readings.iter().zip(&base.readings).map(|(reading, base)| reading.cost / base.cost);
        Spread::of(&ratios.collect::<Vec<_>>())
    }
}

/// Measures a new broker with so many of something.
async fn reading(many: Many, count: usize, effort: Effort) -> anyhow::Result<Reading> {
    let time = effort.choose(Duration::from_secs(1), Duration::from_millis(300));
    let readers = match many {
        Many::Readers => count,
        Many::Clients => SHARED_READERS,
        Many::Idle | Many::Watchers => 1,
    };
    let broker = start(readers).await?;
    let client = broker.client().await?;
    match many {
        Many::Readers => Reading::take(&broker, &[(client, reader(0))], time).await,
        Many::Idle => {
            let _watches = watch(&broker, count).await?;
            Reading::take(&broker, &[(client, reader(0))], time).await
        }
        Many::Watchers => {
            let mut watches = watch(&broker, count).await?;
            swap(&broker, &client, &mut watches).await
        }
        Many::Clients => {
            let mut clients = Vec::new();
            for index in 0..count {
                clients.push((broker.client().await?, reader(index % SHARED_READERS)));
            }
            Reading::take(&broker, &clients, time).await
        }
    }
}

/// Starts a broker and waits until all its readers are ready.
async fn start(readers: usize) -> anyhow::Result<Broker> {
    let broker =
        Setup::simulated(readers)?.configuration("listen.max_connections_per_user = 448").log_level("info").start()?;
    let client = broker.client().await?;
    for index in 0..readers {
        until_ready(&client, &reader(index)).await?;
    }
    Ok(broker)
}

fn reader(index: usize) -> String {
    format!("readers/simulated-reader-{index:02}")
}

/// The measurements of a broker under some load.
struct Reading {
    /// The latency of an operation for a client, p50 in ns.
    latency: i64,
    /// The cost of an operation for the broker, in ns of processor time.
    cost: f64,
    /// The broker's resident memory, in KiB.
    memory: f64,
}

impl Reading {
    /// Measures while each client runs units at its reader, one after the other.
    async fn take(broker: &Broker, clients: &[(Client, String)], time: Duration) -> anyhow::Result<Self> {
        let (before, end) = (processor_time(broker)?, Instant::now() + time);
        let mut running = JoinSet::new();
        for (client, reader) in clients {
            let unit = client.transmit(reader).command(hex::parse(READ_RECORD)?);
            running.spawn(async move {
                let mut times = Vec::new();
                while Instant::now() < end {
                    let began = Instant::now();
                    unit.clone().send().await?;
                    times.push(nanoseconds(began.elapsed()));
                }
                anyhow::Ok(times)
            });
        }
        let mut samples = Samples::default();
        while let Some(times) = running.join_next().await {
            samples.add(times??);
        }
        ensure!(samples.len() > 0, "not one operation ended in time");
        let cost = (processor_time(broker)? - before) as f64 / samples.len() as f64;
        Ok(Self { latency: samples.median(), cost, memory: memory(broker)? })
    }
}

fn table(points: &[Point]) -> Table {
    let (mut rows, mut targets) = (Vec::new(), Vec::new());
    for (index, point) in points.iter().enumerate() {
        let many = point.many;
        let base = points.iter().find(|other| other.many == many && other.count == many.base());
        let ratio = base.map(|base| point.to(base)).unwrap_or_default();
        let [latency, cost, memory] = point.medians();
        let (latency, cost) = (Cell::Time(latency as i64), Cell::Time(cost as i64));
        let count = Cell::Count(point.count as u64);
        rows.push(vec![Cell::text(many.name()), count, latency, cost, Cell::Ratio(ratio), Cell::Memory(memory)]);
        let is_last = points.get(index + 1).is_none_or(|next| next.many != many);
        if is_last {
            let what = format!("{} {}, to {}", point.count, many.name(), many.base());
            targets.push(Target::new(what, Limit::AtMost(many.limit()), ratio));
        }
    }
    Table {
        title: "Scale",
        about: "Simulated readers, all clients in one process. The cost is processor time of the broker: for a \
                Transmit of one command, or for reporting a swapped card to one watcher (two changes: SETTLING, \
                READY), where the time is that to the last watcher. The ratio is that of the cost to the one with 1 \
                reader, 1 idle watch stream, 100 watch streams, or 16 clients, round by round."
            .into(),
        columns: vec![
            "what there are many of",
            "count",
            "p50",
            "cost of an operation",
            "ratio",
            "memory of the broker",
        ],
        rows,
        targets,
    }
}

async fn watch(broker: &Broker, count: usize) -> anyhow::Result<Vec<Watch>> {
    let mut watches = Vec::with_capacity(count);
    let mut client = broker.client().await?;
    for index in 0..count {
        if index % STREAMS_PER_CONNECTION == 0 {
            client = broker.client().await?;
        }
        let mut watch = client.watch();
        until_other(&mut watch, "").await?;
        watches.push(watch);
    }
    Ok(watches)
}

/// Waits until a watcher reports a usable card in another insertion; returns that insertion.
async fn until_other(watch: &mut Watch, insertion: &str) -> anyhow::Result<String> {
    let wait = async {
        loop {
            watch.next().await;
            let ready = watch.readers().get(&reader(0)).filter(|reader| reader.active_protocol != 0);
            if let Some(reader) = ready.filter(|reader| reader.insertion_id != insertion) {
                return reader.insertion_id.clone();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.context("a watcher sees nothing")
}

/// Swaps the card several times, and waits each time until all watchers have reported it.
async fn swap(broker: &Broker, client: &Client, watches: &mut [Watch]) -> anyhow::Result<Reading> {
    let before = processor_time(broker)?;
    let mut samples = Samples::default();
    let mut insertion =
        watches.first().and_then(|watch| watch.readers().get(&reader(0))).context("no reader")?.insertion_id.clone();
    for _ in 0..SWAPS {
        let began = Instant::now();
        client.transmit(reader(0)).command(hex::parse(SWAP)?).send().await?;
        let mut latest = String::new();
        for watch in &mut *watches {
            latest = until_other(watch, &insertion).await?;
        }
        insertion = latest;
        samples.add([nanoseconds(began.elapsed())]);
    }
    let told = watches.len() as f64 * f64::from(SWAPS);
    let cost = (processor_time(broker)? - before) as f64 / told;
    Ok(Reading { latency: samples.median(), cost, memory: memory(broker)? })
}

/// Measures the memory of idle sessions.
async fn sessions(count: usize, rounds: u32) -> anyhow::Result<Table> {
    let mut growths = [("idle session", Vec::new()), ("idle session, with its connection", Vec::new())];
    for round in 1..=rounds {
        progress(&format!("scale: {count} sessions, round {round} of {rounds}"));
        for index in order(round, growths.len()) {
            growths[index].1.push(growth(count, index == 1).await?);
        }
    }
    let (mut rows, mut targets) = (Vec::new(), Vec::new());
    for (name, growths) in growths {
        let each = Spread::of(&growths);
        rows.push(vec![Cell::text(name), Cell::Count(count as u64), Cell::Memory(each.median)]);
        targets.push(Target::new(name, Limit::Below(SESSION_LIMIT), each));
    }
    Ok(Table {
        title: "Memory of a session",
        about: "What the broker's resident memory grows by, for each session.".into(),
        columns: vec!["what", "count", "memory of each"],
        rows,
        targets,
    })
}

/// The growth of a new broker's memory for each of many sessions, in KiB.
async fn growth(count: usize, own_connections: bool) -> anyhow::Result<f64> {
    let broker = start(count).await?;
    let shared = broker.client().await?;
    let before = memory(&broker)?;
    let mut sessions: Vec<Session> = Vec::with_capacity(count);
    for index in 0..count {
        let client = if own_connections { broker.client().await? } else { shared.clone() };
        sessions.push(client.open_session(reader(index)).open().await?);
    }
    Ok((memory(&broker)? - before) / count as f64)
}

/// The processor time of all threads of the broker so far, in ns.
fn processor_time(broker: &Broker) -> anyhow::Result<i64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("{}/task", folder(broker)?)).context("cannot read the broker's threads")? {
        let schedule = fs::read_to_string(thread?.path().join("schedstat"))?;
        sum += schedule.split(' ').next().and_then(|time| time.parse::<i64>().ok()).context("no time")?;
    }
    Ok(sum)
}

/// The resident memory of the broker, in KiB.
fn memory(broker: &Broker) -> anyhow::Result<f64> {
    let status =
        fs::read_to_string(format!("{}/status", folder(broker)?)).context("cannot read the broker's memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no memory")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn folder(broker: &Broker) -> anyhow::Result<String> {
    Ok(format!("/proc/{}", broker.pid()?.as_raw_nonzero()))
}
