//! Floods of well-formed requests by a hostile user, beside a client that takes one turn after the other.

use std::path::Path;

use anyhow::Context as _;
use cardbroker_tests::harness::{
    broker::{Broker, Setup},
    memory::{most_resident_bytes, resident_bytes},
    programs::Program,
    users::may_become_others,
};

use crate::{
    report::{Cell, Limit, Table, Target, progress},
    rounds::{Effort, order},
    samples::{Samples, Spread},
    stage::{Access, until_ready, worker},
    worker::sharer::Share,
};

const READER: &str = "readers/simulated-reader-00";

/// The victim's command on a card that takes 20 ms for it, and on one that takes no time.
const SLOW: &str = "80160000020014";
const INSTANT: &str = "8010000004";
/// How long the victim takes turns in a round, alone and then beside the flood.
const SLOW_MS: u64 = 2_000;
const INSTANT_MS: u64 = 700;

/// The user that no rule mentions, and the one with all rights.
const STRANGER: u32 = 4002;
const MEMBER: u32 = 4003;
const RULES: &str = r#"
listen.socket_mode = "0666"
[[rule]]
name = "member"
principals = ["uid:4003"]
allow = ["all"]
[[rule]]
name = "own"
principals = ["self"]
allow = ["all"]
"#;

/// The kind of the hostile user.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hostile {
    /// A local user without any right.
    Stranger,
    /// A client on TCP without a token, or with a wrong one.
    NoToken,
    WrongToken,
    /// A client on the TLS port without a token.
    NoTokenTls,
    /// A local user with all rights.
    Member,
}

impl Hostile {
    fn name(self) -> &'static str {
        match self {
            Self::Stranger => "without rights",
            Self::NoToken => "TCP, no token",
            Self::WrongToken => "TCP, wrong token",
            Self::NoTokenTls => "TLS, no token",
            Self::Member => "with rights",
        }
    }
}

/// The floods: the user, the kind of requests, and the number of connections.
const FLOODS: [(Hostile, &str, usize); 30] = [
    (Hostile::NoToken, "lists", 1),
    (Hostile::NoToken, "lists", 16),
    (Hostile::WrongToken, "transmits", 1),
    (Hostile::WrongToken, "empties", 1),
    (Hostile::NoTokenTls, "lists", 16),
    (Hostile::NoTokenTls, "handshakes", 16),
    (Hostile::Stranger, "transmits", 1),
    (Hostile::Stranger, "transmits", 32),
    (Hostile::Stranger, "invalid", 1),
    (Hostile::Stranger, "malformed", 1),
    (Hostile::Stranger, "empties", 1),
    (Hostile::Stranger, "announced", 1),
    (Hostile::Stranger, "reset", 1),
    (Hostile::Stranger, "lists", 1),
    (Hostile::Stranger, "sessions", 1),
    (Hostile::Stranger, "health", 1),
    (Hostile::Stranger, "unknown", 1),
    (Hostile::Stranger, "long-headers", 1),
    (Hostile::Stranger, "pings", 1),
    (Hostile::Stranger, "watches", 4),
    (Hostile::Member, "transmits", 1),
    (Hostile::Member, "invalid", 1),
    (Hostile::Member, "malformed", 1),
    (Hostile::Member, "empties", 1),
    (Hostile::Member, "patterns", 1),
    (Hostile::Member, "lists", 1),
    (Hostile::Member, "unknown", 1),
    (Hostile::Member, "sessions", 1),
    (Hostile::Member, "watches", 8),
    (Hostile::Member, "replays", 2),
];

/// One flood on one card, with one value for each round.
struct Case {
    flood: (Hostile, &'static str, usize),
    command: &'static str,
    /// The victim's turns a second, alone and beside the flood, and their ratio.
    alone: Vec<f64>,
    attacked: Vec<f64>,
    turns: Vec<f64>,
    /// The ratio of the victim's 99 % quantiles.
    p99: Vec<f64>,
    times: Samples,
    /// The requests that the hostile user has sent, a second.
    requests: Vec<f64>,
    /// The growth of the daemon's memory, in KiB, and of its log, in KiB a second.
    memory: Vec<f64>,
    log: Vec<f64>,
}

/// Measures each flood on both cards; `before` is another build of the broker.
pub(crate) async fn measure(effort: Effort, before: Option<&Path>) -> anyhow::Result<Table> {
    let mut cases = Vec::new();
    if may_become_others()? {
        for command in [SLOW, INSTANT] {
            cases.extend(FLOODS.map(|flood| Case::new(flood, command)));
        }
        for round in 1..=effort.rounds {
            for index in order(round, cases.len()) {
                let case = &mut cases[index];
                progress(&format!("{}, round {round} of {}", case.name(), effort.rounds));
                case.measure(before).await?;
            }
        }
        cases.iter().for_each(|case| progress(&case.line()));
    }
    Ok(table(&cases))
}

impl Case {
    fn new(flood: (Hostile, &'static str, usize), command: &'static str) -> Self {
        let empty = Vec::new;
        let (alone, attacked, turns, p99, requests) = (empty(), empty(), empty(), empty(), empty());
        let (memory, log, times) = (empty(), empty(), Samples::default());
        Self { flood, command, alone, attacked, turns, p99, times, requests, memory, log }
    }

    async fn measure(&mut self, before: Option<&Path>) -> anyhow::Result<()> {
        let (hostile, kind, connections) = self.flood;
        let ms = if self.command == SLOW { SLOW_MS } else { INSTANT_MS };
        let setup = Setup::simulated(1)?;
        let names = ["victim"];
        let setup = if hostile == Hostile::NoTokenTls { setup.tcp(&names) } else { setup.plain_tcp(&names) }?;
        let setup = setup.open_folder()?.configuration(RULES).log_level("info");
        let setup = match before {
            Some(path) => setup.daemon(path),
            None => setup,
        };
        let mut broker = setup.start()?;
        until_ready(&broker.client().await?, READER).await?;
        let mut victim = Access::unix(&broker.socket()).client(&["sharer", READER, self.command])?;
        let mut turns = || -> anyhow::Result<Samples> {
            victim.say(&format!("for {ms}"))?;
            Ok(Share::of(&mut victim)?.units.iter().map(|unit| unit.time).collect())
        };
        let alone = turns()?;
        let pid = broker.pid()?;
        let (memory, log) = (resident_bytes(pid)?, log_bytes(&broker)?);
        let begin = std::time::Instant::now();
        let flooder = flooder(&broker, hostile, kind, connections)?;
        let attacked = turns()?;
        let sent = flooder.end()?.as_u64().context("no number")?;
        let seconds = begin.elapsed().as_secs_f64();
        let rate = |samples: &Samples| samples.len() as f64 * 1_000.0 / ms as f64;
        self.alone.push(rate(&alone));
        self.attacked.push(rate(&attacked));
        self.turns.push(rate(&attacked) / rate(&alone));
        self.p99.push(attacked.quantile(0.99) as f64 / alone.quantile(0.99) as f64);
        self.times.add(attacked.iter());
        self.requests.push(sent as f64 / seconds);
        self.memory.push(most_resident_bytes(pid)?.saturating_sub(memory) as f64 / 1024.0);
        self.log.push((log_bytes(&broker)? - log) as f64 / seconds / 1024.0);
        broker.stop()?;
        Ok(())
    }

    fn card(&self) -> &'static str {
        if self.command == SLOW { "20 ms" } else { "instant" }
    }

    fn name(&self) -> String {
        let (hostile, kind, connections) = self.flood;
        format!("floods: {} card, {}, {kind} × {connections}", self.card(), hostile.name())
    }

    fn line(&self) -> String {
        let median = |values: &[f64]| Spread::of(values).median;
        format!(
            "{}: turns {:.0}/s -> {:.0}/s = {:.2}, p99 × {:.2}, {:.0} requests/s, +{:.1} MiB, log {:.1} KiB/s",
            self.name(),
            median(&self.alone),
            median(&self.attacked),
            median(&self.turns),
            median(&self.p99),
            median(&self.requests),
            median(&self.memory) / 1024.0,
            median(&self.log)
        )
    }

    fn row(&self) -> Vec<Cell> {
        let (hostile, kind, connections) = self.flood;
        let count = |values: &[f64]| Cell::Count(Spread::of(values).median as u64);
        vec![
            Cell::text(self.card()),
            Cell::text(hostile.name()),
            Cell::text(format!("{kind} × {connections}")),
            count(&self.alone),
            count(&self.attacked),
            Cell::Ratio(Spread::of(&self.turns)),
            Cell::Time(self.times.quantile(0.99)),
            Cell::Ratio(Spread::of(&self.p99)),
            count(&self.requests),
            Cell::Memory(Spread::of(&self.memory).median),
            Cell::Memory(Spread::of(&self.log).median),
        ]
    }

    fn targets(&self) -> Vec<Target> {
        let (hostile, ..) = self.flood;
        let target = |what: &str, limit, values: &[f64]| {
            Target::new(format!("{}: {what}", self.name()), limit, Spread::of(values))
        };
        let slow = self.command == SLOW;
        let share = match (slow, hostile) {
            (true, Hostile::Member) => 0.45,
            (true, _) => 0.9,
            (false, _) => 0.5,
        };
        let mut targets = vec![target("turns, attacked : alone", Limit::AtLeast(share), &self.turns)];
        if slow && hostile != Hostile::Member {
            targets.push(target("p99, attacked : alone", Limit::AtMost(1.5), &self.p99));
        }
        targets.push(target("memory", Limit::Below(32.0 * 1024.0), &self.memory));
        targets.push(target("log a second", Limit::Below(10.0), &self.log));
        targets
    }
}

fn flooder(broker: &Broker, hostile: Hostile, kind: &str, connections: usize) -> anyhow::Result<Program> {
    let endpoint = match hostile {
        Hostile::NoToken | Hostile::WrongToken | Hostile::NoTokenTls => broker.tcp_address()?,
        Hostile::Stranger | Hostile::Member => broker.endpoint(),
    };
    let uid = if hostile == Hostile::Member { MEMBER } else { STRANGER };
    let mut command = worker(&["flood"])?;
    command.args([&endpoint, kind, READER, &format!("--uid={uid}"), &format!("--connections={connections}")]);
    if hostile == Hostile::WrongToken {
        command.arg(format!("--token={}", "A".repeat(64)));
    }
    if hostile == Hostile::NoTokenTls {
        command.arg("--certificate").arg(broker.token_file("victim"));
    }
    let mut flooder = Program::spawn(&mut command)?;
    anyhow::ensure!(flooder.line()? == "attacking");
    Ok(flooder)
}

fn log_bytes(broker: &Broker) -> anyhow::Result<u64> {
    Ok(std::fs::metadata(broker.folder().join("log"))?.len())
}

fn table(cases: &[Case]) -> Table {
    let mut rows: Vec<_> = cases.iter().map(Case::row).collect();
    if cases.is_empty() {
        rows.push(vec![Cell::text("not measured: only root can be several users")]);
    }
    Table {
        title: "Floods",
        about: "A client takes one turn after the other on a simulated card, alone and then beside a hostile user who \
                sends requests of one kind as fast as the broker reads them: a user without any right, a client on \
                TCP or TLS without a valid token, or a user with all rights. The ratios are those of the client's \
                turns and of the 99 % quantile of its times, beside the flood to alone. The last columns are the \
                hostile user's requests a second, the growth of the daemon's memory, and of its log in a second."
            .to_owned(),
        columns: vec![
            "card",
            "hostile user",
            "requests",
            "alone /s",
            "attacked /s",
            "turns",
            "p99",
            "p99 ratio",
            "sent /s",
            "memory",
            "log /s",
        ],
        rows,
        targets: cases.iter().flat_map(Case::targets).collect(),
    }
}
