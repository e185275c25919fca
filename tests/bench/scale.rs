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
    Effort,
    alone::READ_RECORD,
    report::{Cell, Limit, Table, Target, progress},
    samples::{Samples, nanoseconds},
    stage::until_ready,
};

/// Answered at once; then another card is in the reader.
const SWAP: &str = "80F003000400000000";

/// The limit for the cost of an operation with the maximum of something, relative to the cost with one.
const FLAT: f64 = 1.5;
/// The limit for the memory of one session, in KiB.
const SESSION_LIMIT: f64 = 100.0;

/// The number of readers in the case of many clients.
const SHARED_READERS: usize = 16;
const STREAMS_PER_CONNECTION: usize = 100;
const SWAPS: u32 = 10;

pub(crate) async fn measure(effort: Effort) -> anyhow::Result<Vec<Table>> {
    let time = effort.choose(Duration::from_secs(3), Duration::from_millis(300));
    let mut operations = Growth::default();
    for count in effort.choose(&[1, 16, 64, 256][..], &[1, 16]) {
        progress(&format!("scale: {count} readers"));
        let broker = start(*count).await?;
        let client = broker.client().await?;
        operations.add("readers", 1, *count, Reading::take(&broker, &[(client, reader(0))], time).await?);
    }
    let mut changes = Growth::default();
    for count in effort.choose(&[1, 100, 1_000, 2_000][..], &[1, 100]) {
        progress(&format!("scale: {count} watchers"));
        let broker = start(1).await?;
        let client = broker.client().await?;
        let mut watches = watch(&broker, *count).await?;
        operations.add(
            "watch streams, idle",
            1,
            *count,
            Reading::take(&broker, &[(client.clone(), reader(0))], time).await?,
        );
        changes.add("watch streams, a swapped card", 100, *count, swap(&broker, &client, &mut watches).await?);
    }
    for count in effort.choose(&[1, 16, 64, 256][..], &[1, 16]) {
        progress(&format!("scale: {count} clients"));
        let broker = start(SHARED_READERS).await?;
        let mut clients = Vec::new();
        for index in 0..*count {
            clients.push((broker.client().await?, reader(index % SHARED_READERS)));
        }
        operations.add("clients of 16 readers", SHARED_READERS, *count, Reading::take(&broker, &clients, time).await?);
    }
    operations.rows.extend(changes.rows);
    operations.targets.extend(changes.targets);
    Ok(vec![operations.table(), sessions(effort.choose(256, 16)).await?])
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

/// The growth of the cost, along several quantities.
#[derive(Default)]
struct Growth {
    rows: Vec<Vec<Cell>>,
    targets: Vec<Target>,
    /// The growing quantity, and its cost at the beginning.
    first: Option<(&'static str, f64)>,
}

impl Growth {
    /// Costs are compared from `from` on: below it, nothing is shared yet.
    fn add(&mut self, what: &'static str, from: usize, count: usize, reading: Reading) {
        let Reading { latency, cost, memory } = reading;
        let cells = [Cell::Count(count as u64), Cell::Time(latency), Cell::Time(cost as i64), Cell::Memory(memory)];
        self.rows.push([Cell::text(what)].into_iter().chain(cells).collect());
        match self.first {
            Some((same, first)) if same == what => {
                self.targets.retain(|target| !target.is_about(what));
                self.targets.push(Target::new(what, Limit::AtMost(FLAT), cost / first));
            }
            _ if count >= from => self.first = Some((what, cost)),
            _ => {}
        }
    }

    fn table(self) -> Table {
        Table {
            title: "Scale",
            about: "Simulated readers, all clients in one process. The cost is processor time of the broker: for a \
                    Transmit of one command, or for reporting a swapped card to one watcher (two changes: SETTLING, \
                    READY), where the time is that to the last watcher. Each was measured once. The targets compare \
                    the largest number of something with one; for clients, with as many as readers; for watchers, \
                    with 100."
                .into(),
            columns: vec!["what there are many of", "count", "p50", "cost of an operation", "memory of the broker"],
            rows: self.rows,
            targets: self.targets,
        }
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
async fn sessions(count: usize) -> anyhow::Result<Table> {
    let (mut rows, mut targets) = (Vec::new(), Vec::new());
    for own_connection in [false, true] {
        progress(&format!("scale: {count} sessions"));
        let broker = start(count).await?;
        let shared = broker.client().await?;
        let before = memory(&broker)?;
        let mut sessions: Vec<Session> = Vec::with_capacity(count);
        for index in 0..count {
            let client = if own_connection { broker.client().await? } else { shared.clone() };
            sessions.push(client.open_session(reader(index)).open().await?);
        }
        let each = (memory(&broker)? - before) / count as f64;
        let name = if own_connection { "idle session, with its connection" } else { "idle session" };
        rows.push(vec![Cell::text(name), Cell::Count(count as u64), Cell::Memory(each)]);
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
