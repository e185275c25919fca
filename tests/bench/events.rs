//! The delay of an insertion, from an observer on PC/SC to the clients that watch the broker's readers.

use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use cardbroker_client::{Client, Endpoint, ReaderState, WatchEvent};
use tokio::task::JoinSet;

use crate::{
    clock,
    report::{Cell, Limit, Table, Target, progress},
    rounds::{Effort, order},
    samples::Rounds,
    stage::{READER, Stage, moment, until_ready},
};

/// For one watcher, and for the last of many, in ns.
const ONE_LIMIT: f64 = 5e6;
const LAST_LIMIT: f64 = 50e6;

const STREAMS_PER_CONNECTION: usize = 100;

/// How long a watcher may take to report an event.
const SIGHT: Duration = Duration::from_secs(20);

pub(crate) async fn measure(effort: Effort) -> anyhow::Result<Table> {
    let mut stage = Stage::new(0, 0)?;
    let reader = stage.reader_name();
    let counts = effort.choose([1, 1_000], [1, 100]);
    // The first watcher that knows, and the last.
    let mut series: [[Rounds; 2]; 2] = Default::default();
    for round in 1..=effort.rounds {
        for index in order(round, counts.len()) {
            progress(&format!("events: {} watchers, round {round} of {}", counts[index], effort.rounds));
            let (first, last) = one_round(&mut stage, &reader, counts[index], effort).await?;
            series[index][0].add(first);
            series[index][1].add(last);
        }
    }
    let [[only, _], [first, last]] = &series;
    let last_of_many = format!("the last of {}", counts[1]);
    let targets = vec![
        Target::new("one watcher: p99", Limit::Within(ONE_LIMIT), only.p99()),
        Target::new(format!("{last_of_many}: p99"), Limit::Within(LAST_LIMIT), last.p99()),
    ];
    let rows = vec![
        Cell::row("the only one", only.all()),
        Cell::row(&format!("the first of {}", counts[1]), first.all()),
        Cell::row(&last_of_many, last.all()),
    ];
    Ok(Table {
        title: "Events",
        about: "From the insertion, as an observer on PC/SC sees it, to the report of the broker's client. pcscd \
                wakes both at the same time, so a time below zero means that the broker's client was first. The many \
                watch on connections of 100 streams each, in one process."
            .into(),
        columns: vec!["watcher", "insertions", "p50", "p99", "max"],
        rows,
        targets,
    })
}

/// The times from an insertion to the first of so many watchers that knows, and to the last.
async fn one_round(
    stage: &mut Stage,
    reader: &str,
    count: usize,
    effort: Effort,
) -> anyhow::Result<(Vec<i64>, Vec<i64>)> {
    let (mut first, mut last) = (Vec::new(), Vec::new());
    let mut broker = stage.broker(None).await?;
    let client = broker.client().await?;
    let watchers = Watchers::start(Endpoint::Unix(broker.socket()), count)?;
    watchers.seen(true)?;
    let mut observer = stage.direct(&["observer", reader])?;
    for _ in 0..effort.choose(10, 3) {
        // A card that is removed before it was used, or inserted before its removal was noticed, makes pcscd
        // miscount.
        until_ready(&client, READER).await?;
        stage.remove();
        moment(&mut observer, "removed")?;
        watchers.seen(false)?;
        stage.insert()?;
        let seen = watchers.seen(true)?;
        let inserted = moment(&mut observer, "inserted")?;
        first.extend(seen.iter().min().map(|seen| seen - inserted));
        last.extend(seen.iter().max().map(|seen| seen - inserted));
    }
    broker.stop()?;
    Ok((first, last))
}

/// Clients that watch, on a thread of their own until this is dropped.
struct Watchers {
    sights: Receiver<Sight>,
    count: usize,
}

/// Whether a card is present, and when a watcher was informed of the change, in ns.
type Sight = (bool, i64);

impl Watchers {
    fn start(endpoint: Endpoint, count: usize) -> anyhow::Result<Self> {
        let (sender, sights) = sync_channel(2 * count);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("watchers".into()).spawn(move || {
            // Closing the channel ends the waits of its receivers.
            let _ = runtime.block_on(watch(&endpoint, count, &sender));
        })?;
        Ok(Self { sights, count })
    }

    /// The times at which the watchers reported the insertion, or the removal.
    fn seen(&self, is_there: bool) -> anyhow::Result<Vec<i64>> {
        let mut times = Vec::with_capacity(self.count);
        while times.len() < self.count {
            let (was_there, time) = self.sights.recv_timeout(SIGHT).context("a watcher sees nothing")?;
            if was_there == is_there {
                times.push(time);
            }
        }
        Ok(times)
    }
}

async fn watch(endpoint: &Endpoint, count: usize, sights: &SyncSender<Sight>) -> anyhow::Result<()> {
    let mut watchers = JoinSet::new();
    for begin in (0..count).step_by(STREAMS_PER_CONNECTION) {
        let client = Client::connect(endpoint.clone()).await?;
        for _ in begin..count.min(begin + STREAMS_PER_CONNECTION) {
            watchers.spawn(follow(client.clone(), sights.clone()));
        }
    }
    // They end with the broker.
    watchers.join_next().await;
    Ok(())
}

/// Reports each change until the receiver or the broker is gone.
async fn follow(client: Client, sights: SyncSender<Sight>) {
    let mut watch = client.watch();
    let mut was_there = false;
    loop {
        match watch.next().await {
            WatchEvent::Updated(reader) if reader.name == READER => {
                let is_there = reader.state() != ReaderState::Empty;
                if is_there != was_there && sights.send((is_there, clock::now())).is_err() {
                    return;
                }
                was_there = is_there;
            }
            WatchEvent::Disconnected(_) => return,
            _ => {}
        }
    }
}
