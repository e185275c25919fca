//! Users who share a card with slow resets: each gets the same time on it, whatever runs for them, and nobody waits
//! longer than the rule of turns says.

use cardbroker_tests::harness::users::may_become_others;

use crate::{
    alone::READ_RECORD,
    groups::{COMMAND_MS, RAISING, RESET_MS, least_to_most, shares},
    report::{Cell, Limit, Table, Target, progress},
    rounds::{Effort, order},
    samples::{Samples, Spread},
    stage::{Access, READER, Stage},
    worker::sharer::{Share, Unit},
};

const NEUTRAL: [&str; 4] = [READ_RECORD; 4];

/// How long the parties of a case share the card in a round.
const ROUND_MS: u64 = 10_000;
const QUICK_ROUND_MS: u64 = 6_000;

/// The ids of the users.
const USERS: [u32; 3] = [4001, 4002, 4003];

/// One case: the parties that share the card.
struct Case {
    name: &'static str,
    promise: Promise,
    parties: Vec<Party>,
    /// The ratio of the least time of a party on the card to the most, one value for each round; of the time for
    /// commands where the resets are caused by one party only.
    card_times: Vec<f64>,
}

/// The promise of the rule of turns that a case checks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Promise {
    /// The second party waits for a unit of the first one and for a reset at most.
    WorstWait,
    /// All parties have the same time on the card.
    EqualTime,
    /// All parties have the same time for commands. Only one of them causes resets, which fall into the others' turns.
    EqualCommands,
    /// All parties have the same time on the card, and the queue is never full for the second party.
    Room,
}

/// The processes of one user.
struct Party {
    name: &'static str,
    /// The user; `None` for that of the benchmark.
    uid: Option<u32>,
    processes: usize,
    unit: [&'static str; 4],
    /// The average pause of a process between its units, in ms.
    pause: u64,
    /// The party's part of all time on the card, one value for each round.
    parts: Vec<f64>,
    /// The same without the resets.
    command_parts: Vec<f64>,
    units: Vec<Unit>,
    refused: u64,
}

impl Party {
    fn new(name: &'static str, uid: Option<u32>, processes: usize, unit: [&'static str; 4], pause: u64) -> Self {
        let (parts, command_parts, units, refused) = (Vec::new(), Vec::new(), Vec::new(), 0);
        Self { name, uid, processes, unit, pause, parts, command_parts, units, refused }
    }

    /// The arguments of its processes.
    fn arguments(&self) -> Vec<String> {
        let uid = self.uid.map(|uid| format!("--uid={uid}"));
        let fixed = ["sharer".into(), format!("--pause={}", self.pause), READER.into()];
        fixed.into_iter().chain(uid).chain(self.unit.map(str::to_owned)).collect()
    }

    /// The times of its units, with their waits.
    fn times(&self) -> Samples {
        self.units.iter().map(|unit| unit.time).collect()
    }
}

pub(crate) async fn measure(effort: Effort) -> anyhow::Result<Table> {
    let stage = Stage::new(COMMAND_MS, RESET_MS)?;
    let mut cases = vec![occasional()];
    if may_become_others()? {
        cases.extend([neutral(), processes(), crowd()]);
    }
    for round in 1..=effort.rounds {
        for index in order(round, cases.len()) {
            let case = &mut cases[index];
            progress(&format!("users: {}, round {round} of {}", case.name, effort.rounds));
            case.measure(&stage, effort).await?;
        }
    }
    Ok(table(&cases, effort.rounds))
}

/// One group saturates the card, another one asks once a second.
fn occasional() -> Case {
    let party = |name, pause| Party::new(name, None, 1, RAISING, pause);
    let parties = vec![party("as fast as it can", 0), party("once a second", 1_000)];
    Case::new("two groups", Promise::WorstWait, parties)
}

fn neutral() -> Case {
    let party = |name, uid, unit| Party::new(name, Some(uid), 1, unit, 0);
    let parties = vec![party("neutral", USERS[0], NEUTRAL), party("raising", USERS[1], RAISING)];
    Case::new("neutral and raising", Promise::EqualCommands, parties)
}

fn processes() -> Case {
    let party = |name, uid, processes| Party::new(name, Some(uid), processes, RAISING, 0);
    let counts = [("1 process", USERS[0], 1), ("3 processes", USERS[1], 3), ("9 processes", USERS[2], 9)];
    let parties = counts.map(|(name, uid, count)| party(name, uid, count)).into();
    Case::new("few and many processes", Promise::EqualTime, parties)
}

fn crowd() -> Case {
    let party = |name, uid, processes| Party::new(name, Some(uid), processes, NEUTRAL, 0);
    let parties = vec![party("17 processes", USERS[0], 17), party("1 process", USERS[1], 1)];
    Case::new("a crowd", Promise::Room, parties)
}

impl Case {
    fn new(name: &'static str, promise: Promise, parties: Vec<Party>) -> Self {
        Self { name, promise, parties, card_times: Vec::new() }
    }

    /// The broker's configuration: lets the users in.
    fn configuration(&self) -> String {
        let users: Vec<_> = self.parties.iter().filter_map(|party| party.uid).collect();
        if users.is_empty() {
            return String::new();
        }
        let room = if self.promise == Promise::Room { "limits.max_waiting_per_reader = 32\n" } else { "" };
        let principals = users.iter().map(|uid| format!("\"uid:{uid}\"")).collect::<Vec<_>>().join(", ");
        let rule = format!("[[rule]]\nname = \"desk\"\nprincipals = [{principals}]\nallow = [\"all\"]\n");
        format!("listen.socket_mode = \"0666\"\n{room}{rule}")
    }

    /// Has all parties share the card once, with a new broker.
    async fn measure(&mut self, stage: &Stage, effort: Effort) -> anyhow::Result<()> {
        let ms = effort.choose(ROUND_MS, QUICK_ROUND_MS);
        let setup = stage.setup()?.configuration(&self.configuration()).log_level("info").open_folder()?;
        let mut broker = stage.start(setup).await?;
        let access = Access::unix(&broker.socket());
        let mut programs = Vec::new();
        for party in &self.parties {
            let arguments = party.arguments();
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            for _ in 0..party.processes {
                programs.push(access.client(&arguments)?);
            }
        }
        self.add(shares(&mut programs, ms)?, ms);
        broker.stop()?;
        Ok(())
    }

    /// Adds the shares of a round, which are those of the first party's processes, then the second one's, and so on.
    fn add(&mut self, shares: Vec<Share>, ms: u64) {
        let mut shares = shares.into_iter();
        let (mut on_card, mut on_commands) = (Vec::new(), Vec::new());
        for party in &mut self.parties {
            let shares: Vec<_> = shares.by_ref().take(party.processes).collect();
            on_card.push(shares.iter().map(|share| share.card_time(ms)).sum::<f64>());
            on_commands.push(shares.iter().map(|share| share.command_time(ms)).sum::<f64>());
            party.refused += shares.iter().map(|share| share.refused).sum::<u64>();
            party.units.extend(shares.iter().flat_map(|share| &share.units));
        }
        let compared = if self.promise == Promise::EqualCommands { &on_commands } else { &on_card };
        self.card_times.push(least_to_most(compared));
        let [all, all_commands] = [&on_card, &on_commands].map(|times| times.iter().sum::<f64>());
        for ((party, time), command_time) in self.parties.iter_mut().zip(on_card).zip(on_commands) {
            party.parts.push(time / all);
            party.command_parts.push(command_time / all_commands);
        }
    }

    fn rows(&self) -> impl Iterator<Item = Vec<Cell>> {
        self.parties.iter().map(|party| {
            let times = party.times();
            let [p50, p95, p99, max] = [0.5, 0.95, 0.99, 1.0].map(|share| Cell::Time(times.quantile(share)));
            let parts = [&party.parts, &party.command_parts].map(|parts| Cell::Ratio(Spread::of(parts)));
            let who = [Cell::text(self.name), Cell::text(party.name), Cell::Count(times.len() as u64)];
            let refused = Cell::Count(party.refused);
            who.into_iter().chain(parts).chain([p50, p95, p99, max, refused]).collect()
        })
    }

    fn targets(&self) -> Vec<Target> {
        let [first, second, ..] = &self.parties[..] else { return Vec::new() };
        let name = |what: &str| format!("users: {}: {what}", self.name);
        if self.promise == Promise::WorstWait {
            // The reset and the unit, and a unit of the other group.
            let longest =
                |units: &mut dyn Iterator<Item = &Unit>| units.map(|unit| unit.on_card).max().unwrap_or_default();
            let own = longest(&mut second.units.iter());
            let other = longest(&mut first.units.iter().filter(|unit| !unit.was_reset));
            let limit = Limit::Within((own + other) as f64);
            return vec![Target::new(name("worst wait"), limit, second.times().max() as f64)];
        }
        let ratio = Spread::of(&self.card_times);
        let what = match self.promise {
            Promise::EqualCommands => "least : most time for commands",
            _ => "least : most card time",
        };
        let mut targets = vec![Target::new(name(what), Limit::AtLeast(0.9), ratio)];
        if self.promise == Promise::Room {
            targets.push(Target::new(name("refusals of the other"), Limit::AtMost(0.0), second.refused as f64));
        }
        targets
    }
}

fn table(cases: &[Case], rounds: u32) -> Table {
    let columns = vec!["case", "who", "units", "card time", "commands", "p50", "p95", "p99", "max", "refused"];
    let mut rows: Vec<_> = cases.iter().flat_map(Case::rows).collect();
    if cases.len() == 1 {
        rows.push(vec![Cell::text("several users"), Cell::text("not measured: only root can be several users")]);
    }
    Table {
        title: "Users",
        about: format!(
            "Client processes run units of 4 commands on a card whose commands take {COMMAND_MS} ms and whose resets \
             take {RESET_MS} ms, each as an isolation group of its own. Two groups of one user raise security state, \
             one as fast as it can and one once a second. A user whose commands are neutral shares the card with one \
             whose commands raise. Three users run 1, 3 and 9 processes that raise. One user runs 17 processes, at a \
             queue with room for 8 requests of a user, and another one runs one; none of them raises. Each case lasts \
             {rounds} × {} s ({} s in a quick run). The card time is the user's part of all time on the card, with \
             the resets at the beginning of its turns; `commands` is the same without the resets, which the raising \
             user causes and the neutral one waits for. The times are those of a unit, with its wait. `refused` is \
             the number of requests for which the queue was full; they are \
             sent again 100 ms later. The limit of the worst wait is a sum of two times on the card from the same \
             run: the longest of the group's own unit with its reset, and the longest unit of the other group without \
             a reset, which may be under way.",
            ROUND_MS / 1_000,
            QUICK_ROUND_MS / 1_000
        ),
        columns,
        rows,
        targets: cases.iter().flat_map(Case::targets).collect(),
    }
}
