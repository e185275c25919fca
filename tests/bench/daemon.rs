//! The daemon by itself: its start, a call of the command line, and its wake-ups and memory while it is idle.

use std::{
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;
use cardbroker_client::{Client, ConnectOptions, Endpoint};
use cardbroker_tests::harness::{
    LONGEST,
    broker::{Broker, Setup, program},
    memory::{proportional_bytes, resident_bytes},
    programs::Program,
    run::cardbroker,
    wakeups::{until_asleep, waits},
};
use tokio::time::sleep;

use crate::{
    report::{Cell, Limit, Table, Target, progress},
    rounds::{Effort, order},
    samples::{Samples, Spread, nanoseconds},
    stage::Stage,
};

/// The time in which an idle daemon may wake up once, in seconds.
const WAKEUP_SECONDS: f64 = 15.0;
/// Longer than any wait of a daemon that is not idle yet.
const QUIET: Duration = Duration::from_secs(3);
const SIMULATED_READERS: usize = 2;
/// The interval of attempts to connect to a daemon that starts.
const ATTEMPT_INTERVAL: Duration = Duration::from_micros(200);

/// A daemon's card stack, with its name in the tables.
enum Stack {
    Simulated,
    Pcsc(Stage),
}

impl Stack {
    fn name(&self) -> &'static str {
        match self {
            Self::Simulated => "2 simulated readers, 2 cards",
            Self::Pcsc(_) => "2 PC/SC readers, 1 card",
        }
    }

    fn setup(&self) -> anyhow::Result<Setup> {
        Ok(match self {
            Self::Simulated => Setup::simulated(SIMULATED_READERS)?,
            Self::Pcsc(stage) => stage.setup()?,
        }
        .log_level("info"))
    }
}

pub(crate) async fn measure(effort: Effort) -> anyhow::Result<Vec<Table>> {
    let stacks = [Stack::Simulated, Stack::Pcsc(Stage::new(0, 0)?)];
    Ok(vec![calls(&stacks, effort).await?, idle(&stacks, effort)?])
}

async fn calls(stacks: &[Stack], effort: Effort) -> anyhow::Result<Table> {
    let times = effort.choose(10, 3);
    let mut series: Vec<[Samples; 2]> = stacks.iter().map(|_| Default::default()).collect();
    for round in 1..=effort.rounds {
        for index in order(round, stacks.len()) {
            let (stack, [starts, readers]) = (&stacks[index], &mut series[index]);
            progress(&format!("daemon: {}, round {round} of {}", stack.name(), effort.rounds));
            for _ in 0..times {
                starts.add([start(stack).await?]);
            }
            let broker = stack.setup()?.start()?;
            for _ in 0..times {
                let mut command = cardbroker(&broker.endpoint(), &["readers"])?;
                let began = Instant::now();
                let output = command.output()?;
                readers.add([nanoseconds(began.elapsed())]);
                ensure!(output.status.success(), "cardbroker readers: {output:?}");
            }
        }
    }
    let rows = stacks.iter().zip(&series).flat_map(|(stack, [starts, readers])| {
        let name = stack.name();
        [Cell::row(&format!("start, {name}"), starts), Cell::row(&format!("`cardbroker readers`, {name}"), readers)]
    });
    let rows = rows.collect();
    Ok(Table {
        title: "Start and command line",
        about: "A start lasts from the execution of cardbrokerd to the answer of a first call, which lists the \
                readers. `cardbroker readers` lasts from its execution to its end."
            .into(),
        columns: vec!["what", "times", "p50", "p99", "max"],
        rows,
        targets: Vec::new(),
    })
}

/// Starts a daemon and returns the time until it has answered a call, in ns.
async fn start(stack: &Stack) -> anyhow::Result<i64> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("cardbroker.sock");
    let mut command = Command::new(program("cardbrokerd")?);
    command.arg("--socket").arg(&socket).args(["--log", "info"]).stderr(Stdio::null());
    match stack {
        Stack::Simulated => command.args(["--simulate", &SIMULATED_READERS.to_string()]),
        Stack::Pcsc(stage) => command.env("PCSCLITE_CSOCK_NAME", stage.pcsc_socket()),
    };
    let began = Instant::now();
    let _daemon = Program::spawn(&mut command)?;
    let client = loop {
        // Without the client's own waits between its attempts.
        let options = ConnectOptions { connect_timeout: Duration::ZERO, ..ConnectOptions::default() };
        match Client::connect_with(Endpoint::Unix(socket.clone()), options).await {
            Err(_) if began.elapsed() < LONGEST => sleep(ATTEMPT_INTERVAL).await,
            client => break client?,
        }
    };
    client.readers().await?;
    Ok(nanoseconds(began.elapsed()))
}

/// Both daemons at once, over one window for each round.
fn idle(stacks: &[Stack], effort: Effort) -> anyhow::Result<Table> {
    // All windows together are longer than the longest wait of the monitor, 120 s.
    let window = Duration::from_secs(effort.choose(22, 15));
    let brokers = stacks.iter().map(|stack| stack.setup()?.start()).collect::<anyhow::Result<Vec<Broker>>>()?;
    let pids = brokers.iter().map(Broker::pid).collect::<anyhow::Result<Vec<_>>>()?;
    let mut before = pids.iter().map(|pid| until_asleep(*pid, QUIET)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut wakeups = vec![Vec::new(); stacks.len()];
    for round in 1..=effort.rounds {
        progress(&format!("daemon: idle for {} s, round {round} of {}", window.as_secs(), effort.rounds));
        thread::sleep(window);
        for ((pid, before), wakeups) in pids.iter().zip(&mut before).zip(&mut wakeups) {
            let now = waits(*pid)?;
            wakeups.push((now - *before) as f64);
            *before = now;
        }
    }
    let (mut rows, mut targets) = (Vec::new(), Vec::new());
    for ((stack, pid), wakeups) in stacks.iter().zip(pids).zip(wakeups) {
        let memory = |bytes: Option<u64>| bytes.map_or(Cell::None, |bytes| Cell::Memory(bytes as f64 / 1024.0));
        let all: f64 = wakeups.iter().sum();
        let time = window.as_secs_f64() * wakeups.len() as f64;
        rows.push(vec![
            Cell::text(stack.name()),
            Cell::text(format!("{time:.0} s")),
            Cell::Count(all as u64),
            memory(Some(resident_bytes(pid)?)),
            memory(proportional_bytes(pid)?),
        ]);
        // A poll once in two minutes is in one of the windows.
        let spread = Spread::of(&wakeups);
        let scale = WAKEUP_SECONDS / window.as_secs_f64();
        let per_window =
            Spread { median: all * WAKEUP_SECONDS / time, min: spread.min * scale, max: spread.max * scale };
        let what = format!("an idle daemon, {}: wake-ups in 15 s", stack.name());
        targets.push(Target::new(what, Limit::AtMost(1.0), per_window));
    }
    Ok(Table {
        title: "An idle daemon",
        about: "Without clients. A wake-up is the end of a wait of any of its threads, by the kernel's count. RSS is \
                the resident memory, and PSS the part of it that is not shared with other processes (empty if this \
                user may not read it)."
            .into(),
        columns: vec!["readers", "time", "wake-ups", "RSS", "PSS"],
        rows,
        targets,
    })
}
