//! One client alone: the cost of a unit with the broker and without it.

use cardbroker_tests::harness::programs::Program;

use crate::{
    report::{Cell, Limit, Table, Target, progress},
    rounds::{Effort, order},
    samples::Rounds,
    stage::{Access, READER, Stage, times},
    tcp::Tcp,
};

pub(crate) const READ_RECORD: &str = "00B2010410";
pub(crate) const SELECT: &str = "00A4040006F04341524401";
const GET_RESPONSE: &str = "00C0000013";

struct Unit {
    name: &'static str,
    /// For PC/SC, and for a broker that does not complete answers.
    raw: &'static [&'static str],
    /// For a broker that completes answers.
    completed: &'static str,
}

const UNITS: [Unit; 2] = [
    Unit { name: "one APDU", raw: &[READ_RECORD], completed: READ_RECORD },
    Unit { name: "SELECT + GET RESPONSE", raw: &[SELECT, GET_RESPONSE], completed: SELECT },
];

/// For a unit in a session, by `Transmit`, and on plain TCP instead of the Unix socket.
const SESSION_LIMIT: f64 = 1.1;
const TRANSMIT_LIMIT: f64 = 1.6;
const TCP_LIMIT: f64 = 1.2;

/// How a client reaches the card.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Path {
    /// By PC/SC, without the broker, which would hold the card exclusively.
    Direct,
    Unix,
    /// By the TCP port without TLS, which has a case of its own.
    Tcp,
}

/// One way to run one unit, with its times.
struct Series {
    unit: &'static Unit,
    path: Path,
    /// The kind of client: `transaction`, `exclusive`, `transmit` or `session`.
    way: &'static str,
    /// Whether a client of the broker sends GET RESPONSE itself.
    sends_all: bool,
    times: Rounds,
}

pub(crate) async fn measure(effort: Effort) -> anyhow::Result<Table> {
    let stage = Stage::new(0, 0)?;
    let tcp = Tcp::prepare()?.map(Tcp::without_tls).transpose()?;
    let mut series = all_series(tcp.is_some());
    for round in 1..=effort.rounds {
        progress(&format!("alone, round {round} of {}", effort.rounds));
        for by_broker in order(round, 2) {
            let (with, without): (Vec<_>, Vec<_>) =
                series.iter_mut().partition(|series: &&mut Series| series.path != Path::Direct);
            let mut chosen = if by_broker == 1 { with } else { without };
            let mut broker = if by_broker == 1 { Some(stage.broker(tcp.as_ref()).await?) } else { None };
            let unix = broker.as_ref().map(|broker| Access::unix(&broker.socket()));
            for index in order(round, chosen.len()) {
                let access = if chosen[index].path == Path::Tcp { tcp.as_ref().map(Tcp::access) } else { unix.clone() };
                chosen[index].measure(&stage, access.as_ref(), effort.choose(2_000, 200))?;
            }
            if let Some(broker) = &mut broker {
                broker.stop()?;
            }
        }
    }
    Ok(table(&series, tcp.is_some()))
}

/// All ways to run each unit; the first of a unit is the one that the others are compared with.
fn all_series(has_tcp: bool) -> Vec<Series> {
    let mut all = Vec::new();
    for unit in &UNITS {
        let mut add = |path, way, sends_all| {
            all.push(Series { unit, path, way, sends_all, times: Rounds::default() });
        };
        ["transaction", "exclusive"].into_iter().for_each(|way| add(Path::Direct, way, true));
        for path in [Path::Unix, Path::Tcp].into_iter().filter(|path| *path != Path::Tcp || has_tcp) {
            for way in ["transmit", "session"] {
                if unit.raw.len() > 1 {
                    add(path, way, true);
                }
                add(path, way, false);
            }
        }
    }
    all
}

impl Series {
    /// One round. `access` is for a client of the broker.
    fn measure(&mut self, stage: &Stage, access: Option<&Access>, count: u32) -> anyhow::Result<()> {
        let mut user = self.start(stage, access)?;
        times(&mut user, &format!("times {}", count / 10))?;
        self.times.add(times(&mut user, &format!("times {count}"))?);
        Ok(())
    }

    fn start(&self, stage: &Stage, access: Option<&Access>) -> anyhow::Result<Program> {
        let Some(access) = access else {
            return stage.direct(&[&["units", self.way, &stage.reader_name()], self.unit.raw].concat());
        };
        let apdus = match self.sends_all {
            true => [&["--raw"], self.unit.raw].concat(),
            false => vec![self.unit.completed],
        };
        access.client(&[&["units", self.way, READER], &apdus[..]].concat())
    }

    fn name(&self) -> String {
        let how = if self.sends_all { ", two raw commands" } else { "" };
        let path = if self.path == Path::Tcp { "TCP" } else { "Unix" };
        match self.way {
            "transaction" => "PC/SC, in a transaction".into(),
            "exclusive" => "PC/SC, exclusive connection".into(),
            "transmit" => format!("broker, Transmit{how} ({path})"),
            _ => format!("broker, session{how} ({path})"),
        }
    }

    /// The maximum ratio to PC/SC in a transaction, on the Unix socket.
    fn limit(&self) -> f64 {
        if self.way == "session" { SESSION_LIMIT } else { TRANSMIT_LIMIT }
    }
}

fn table(series: &[Series], has_tcp: bool) -> Table {
    let (mut rows, mut targets) = (Vec::new(), Vec::new());
    for one in series {
        let unit = one.unit.name;
        let same = |other: &&Series| other.unit.name == unit;
        let ratio = series.iter().find(same).map(|base| one.times.to(&base.times)).unwrap_or_default();
        let [p50, p99, max] = Cell::quantiles(one.times.all());
        rows.push(vec![Cell::text(unit), Cell::text(one.name()), p50, p99, max, Cell::Ratio(ratio)]);
        match one.path {
            Path::Direct => {}
            Path::Unix => {
                targets.push(Target::new(format!("{unit}: {}", one.name()), Limit::AtMost(one.limit()), ratio));
            }
            Path::Tcp => {
                let unix = series
                    .iter()
                    .filter(same)
                    .find(|other| (other.path, other.way, other.sends_all) == (Path::Unix, one.way, one.sends_all));
                let ratio = unix.map(|unix| one.times.to(&unix.times)).unwrap_or_default();
                let what = format!("{unit}: {}, to Unix", one.name());
                targets.push(Target::new(what, Limit::AtMost(TCP_LIMIT), ratio));
            }
        }
    }
    if !has_tcp {
        let dash = || Cell::None;
        rows.push(vec![Cell::text("both"), Cell::text("broker (TCP): not there"), dash(), dash(), dash(), dash()]);
    }
    Table {
        title: "Alone",
        about: "One client process and a card that answers at once. The ratio is to PC/SC in a transaction, median \
                to median; TCP is without TLS. Without \"two raw commands\" the client sends SELECT alone and the \
                broker fetches the rest."
            .into(),
        columns: vec!["unit", "way", "p50", "p99", "max", "ratio"],
        rows,
        targets,
    }
}
