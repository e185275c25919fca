//! `cardbroker trace`: what happens at the readers, as it happens, on the screen or in a file.

mod record;
mod show;
mod sink;
mod text;

use std::{path::PathBuf, time::SystemTime};

use cardbroker_client::{
    Client, Reader,
    diagnostics::{CallerFilter, TraceBatch, TraceEventKind, TraceLevel, TraceOptions},
};
use clap::{Args, Subcommand, ValueEnum};
use record::Line;
pub(crate) use show::{ShowArguments, run as show};
use sink::Sink;

use super::{Failure, Screen, clock::rfc3339_micros, completion, end, select::find, user};

/// Show what happens at the readers: turns, commands, resets, insertions, and requests that were denied or got no turn;
/// for operators.
///
/// Of a command its header, the status word and the time are shown, of SELECT also the application. Where a secret is
/// presented, nothing shown depends on its length. Events that were dropped because this program was too slow are
/// counted where they are missing. Ends at Ctrl-C (exit code 0), and when the broker stops.
#[derive(Args)]
#[command(after_long_help = HELP, args_conflicts_with_subcommands = true)]
pub(crate) struct TraceArguments {
    #[command(subcommand)]
    pub(crate) action: Option<Action>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
pub(crate) enum Action {
    Show(ShowArguments),
}

#[derive(Args)]
struct Options {
    /// Only this reader; may be repeated. [default: all readers that you may trace, also later ones]
    #[arg(long = "reader", value_name = "READER", help_heading = FILTER, add = completion::readers())]
    readers: Vec<String>,
    /// Only what concerns this process, in the broker's numbers; may be repeated.
    #[arg(long = "pid", value_name = "PID", help_heading = FILTER)]
    processes: Vec<i32>,
    /// Only what concerns this user: a login name of this machine, a number, a SID, or a principal as status prints it
    /// (`token build-7`); may be repeated.
    #[arg(long = "user", value_name = "USER", help_heading = FILTER)]
    users: Vec<String>,
    /// Only what concerns this connection, by its number in `status --json`; may be repeated.
    #[arg(long = "connection", value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..),
          help_heading = FILTER)]
    connections: Vec<i64>,
    /// Only events of this kind; may be repeated.
    #[arg(long = "kind", value_name = "KIND", help_heading = FILTER)]
    kinds: Vec<Kind>,
    /// Also show commands and answers that are known to be harmless. Needs the permission `trace_data`; begin and end
    /// are recorded in the broker's audit trail.
    #[arg(long)]
    data: bool,
    /// Begin with so many events of each reader from the broker's recorder (marked with * in text).
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=256))]
    last: u32,
    /// How events are written. [default: text; jsonl with -o or --json]
    #[arg(long, value_name = "FORMAT", help_heading = OUTPUT)]
    format: Option<Format>,
    /// Write into this new file, which only you may read.
    #[arg(short, long, value_name = "FILE", help_heading = OUTPUT)]
    output: Option<PathBuf>,
    /// Replace the file if it exists already.
    #[arg(long, requires = "output", help_heading = OUTPUT)]
    force: bool,
}

/// The headings of the options.
const FILTER: &str = "Filter";
const OUTPUT: &str = "Output";

const HELP: &str = "\
Examples:
  cardbroker trace --reader yubikey --last 50
  cardbroker trace --pid 4711 --kind command --kind denial
  cardbroker trace --data -o yubikey.jsonl
  cardbroker trace show yubikey.jsonl
  cardbrokerd --simulate-from yubikey.jsonl
      replay it: cards that answer the same, without hardware

Needs the permission trace, and for --data trace_data too. A rule must grant them by name: `all` does not include \
them. Without rules the user that runs the broker and root have them. Readers without the permission are left out of \
a trace of all readers; naming one fails as if it did not exist. `denied by rule ...` means that this rule decides, \
or that none allows it: cardbroker policy check --help.";

/// The kinds of events that a trace shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// The begin and the end of units and sessions.
    Turn,
    /// Commands and their status words.
    Command,
    /// Resets of the card by the broker.
    Reset,
    /// Insertions and removals of cards.
    Insertion,
    /// Requests that the policy denied.
    Denial,
    /// Requests that got no turn, for example because another program holds the card.
    NotServed,
}

impl From<Kind> for TraceEventKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Turn => Self::Turn,
            Kind::Command => Self::Command,
            Kind::Reset => Self::Reset,
            Kind::Insertion => Self::Insertion,
            Kind::Denial => Self::Denial,
            Kind::NotServed => Self::NotServed,
        }
    }
}

/// How the events of a trace are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Lines for people, with local times.
    Text,
    /// One JSON object a line.
    Jsonl,
}

pub(crate) async fn run(
    client: &Client,
    arguments: TraceArguments,
    json: bool,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let options = arguments.options;
    let format = options.format.unwrap_or(match json || options.output.is_some() {
        true => Format::Jsonl,
        false => Format::Text,
    });
    let needed = if options.data { "trace_data" } else { "trace" };
    let readers = end::before_sending(options.readers(client)).await?;
    let request = options.request(client, &readers)?;
    if let Some(file) = &options.output {
        sink::check(file, options.force)?;
    }
    let has_file = options.output.is_some();
    let end = async {
        match has_file {
            true => Ok(end::signal().await?),
            false => end::signal_or_closed_output().await,
        }
    };
    tokio::pin!(end);
    let mut trace = tokio::select! {
        biased;
        ended = &mut end => return ended,
        trace = request.begin() => trace.map_err(|error| Failure::operator(error, needed))?,
    };
    let mut sink = Sink::open(options.output, options.force, format, screen)?;
    sink.begin(trace.epoch())?;
    if options.data && format == Format::Jsonl {
        sink.write(&present(&client.readers().await?, &readers))?;
    }
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut end => break ended,
            batch = trace.next() => match batch {
                Ok(batch) => sink.write(&lines(&batch))?,
                Err(error) => break Err(Failure::operator(error, needed)),
            },
        }
    };
    sink.end()?;
    ended
}

/// The lines of the cards that are in these of the broker's readers now; of all readers if none is named.
fn present(found: &[Reader], named: &[String]) -> Vec<Line> {
    let time = rfc3339_micros(SystemTime::now());
    let wanted = found.iter().filter(|reader| named.is_empty() || named.contains(&reader.name));
    wanted.filter_map(|reader| Line::present(time.clone(), reader)).collect()
}

/// The lines of what the trace tells at once.
fn lines(batch: &TraceBatch) -> Vec<Line> {
    let missed = (batch.missed_count > 0).then_some(Line::Missed { missed_count: batch.missed_count });
    missed.into_iter().chain(batch.events.iter().map(Line::from)).collect()
}

impl Options {
    /// The names of the readers that are to be traced; none for all of them.
    async fn readers(&self, client: &Client) -> Result<Vec<String>, Failure> {
        let mut names = Vec::new();
        for reader in &self.readers {
            names.push(find(client, reader).await?.name);
        }
        Ok(names)
    }

    fn request(&self, client: &Client, readers: &[String]) -> Result<TraceOptions, Failure> {
        let mut request = client.diagnostics().trace().recorded_count(self.last);
        for caller in callers(&self.processes, &self.users, &self.connections)? {
            request = request.caller(caller);
        }
        for reader in readers {
            request = request.reader(reader);
        }
        for kind in &self.kinds {
            request = request.kind((*kind).into());
        }
        Ok(if self.data { request.level(TraceLevel::Data) } else { request })
    }
}

/// Describes each combination of the processes, users and connections that are given.
fn callers(processes: &[i32], users: &[String], connections: &[i64]) -> Result<Vec<CallerFilter>, Failure> {
    if processes.is_empty() && users.is_empty() && connections.is_empty() {
        return Ok(Vec::new());
    }
    let principals = users.iter().map(|user| user::principal(user)).collect::<Result<Vec<_>, _>>()?;
    let filters = vec![CallerFilter::default()];
    let filters = combined(filters, processes, |filter, id| filter.process_id = Some(*id));
    let filters = combined(filters, &principals, |filter, principal| filter.principal.clone_from(principal));
    Ok(combined(filters, connections, |filter, number| filter.connection = *number))
}

/// Each filter with each of the values, or unchanged if there are none.
fn combined<T>(filters: Vec<CallerFilter>, values: &[T], set: impl Fn(&mut CallerFilter, &T)) -> Vec<CallerFilter> {
    if values.is_empty() {
        return filters;
    }
    let with = |filter: &CallerFilter, value| {
        let mut filter = filter.clone();
        set(&mut filter, value);
        filter
    };
    filters.iter().flat_map(|filter| values.iter().map(move |value| with(filter, value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn every_event_returns_unchanged_from_its_line() {
        let batch_lines: Vec<Line> = sample::events().iter().map(Line::from).collect();
        let began = Line::TraceBegan { version: 1, time: None, epoch: "e1".into() };
        for line in [began, Line::Missed { missed_count: 7 }].into_iter().chain(batch_lines) {
            let text = serde_json::to_string(&line).unwrap();
            assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line, "{text}");
        }
        let newer = r#"{"event":"card_melted","time":"2026-11-27T14:04:10Z","heat":9}"#;
        assert_eq!(serde_json::from_str::<Line>(newer).unwrap(), Line::Unknown);
    }

    /// One of each line, as the conformance kit has them for readers of the file.
    fn conformance_lines() -> Vec<Line> {
        let time = Some("2026-11-27T14:04:10.000000Z".to_owned());
        let card = Reader { insertion_id: "e1-4".into(), ..sample::desk().reader.unwrap() };
        let mut lines = vec![
            Line::TraceBegan { version: record::VERSION, time: time.clone(), epoch: "e1".into() },
            Line::present(time.clone(), &card).unwrap(),
        ];
        lines.extend(sample::events().iter().map(Line::from));
        lines.insert(7, Line::Missed { missed_count: 3 });
        assert_eq!(Line::present(time, &Reader::default()), None);
        lines
    }

    #[test]
    fn the_lines_are_those_of_the_conformance_kit() {
        const FILE: &str = "../../proto/conformance/trace.jsonl";
        let written: String =
            conformance_lines().iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(FILE, &written).unwrap();
        }
        assert_eq!(written, std::fs::read_to_string(FILE).unwrap(), "UPDATE_GOLDEN=1 writes the file");
    }

    #[test]
    fn only_cards_of_named_readers_are_present() {
        let readers = [sample::desk(), sample::hung()].map(|status| status.reader.unwrap());
        let count = |named: &[&str]| {
            let named: Vec<_> = named.iter().map(ToString::to_string).collect();
            present(&readers, &named).len()
        };
        assert_eq!((count(&[]), count(&["readers/desk"]), count(&["readers/pcd-00-00"])), (1, 1, 0));
    }

    #[test]
    fn processes_users_and_connections_must_all_fit() {
        let users = ["1000".to_owned(), "token ci".to_owned()];
        let told = |filters: Vec<CallerFilter>| -> Vec<_> {
            filters.into_iter().map(|filter| (filter.principal, filter.process_id, filter.connection)).collect()
        };
        assert_eq!(told(callers(&[], &[], &[]).unwrap()), []);
        assert_eq!(told(callers(&[7], &[], &[]).unwrap()), [(String::new(), Some(7), 0)]);
        assert_eq!(told(callers(&[], &[], &[3, 4]).unwrap()), [(String::new(), None, 3), (String::new(), None, 4)]);
        let all = [("user 1000".to_owned(), Some(7), 3), ("token ci".to_owned(), Some(7), 3)];
        assert_eq!(told(callers(&[7], &users, &[3]).unwrap()), all);
    }
}
