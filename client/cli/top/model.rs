//! The state of the broker at one moment, as the screen shows it: printable texts, and times by the broker's clock.

use std::time::{Duration, SystemTime};

use super::text::elapsed_long;
use crate::words::quoted;

/// The broker and its readers at one moment.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    /// The moment, by the broker's clock.
    pub(super) now: SystemTime,
    /// Names the run of the broker.
    pub(super) epoch: String,
    /// The broker itself. `None` if the caller may diagnose some readers only, or asked for one reader.
    pub(super) broker: Option<Broker>,
    /// The readers, ordered by name.
    pub(super) readers: Vec<Reader>,
}

/// The broker itself, apart from its readers.
#[derive(Debug, Clone)]
pub(super) struct Broker {
    pub(super) version: String,
    /// The beginning of this run.
    pub(super) start_time: Option<SystemTime>,
    /// The open connections on all sockets.
    pub(super) connections: u64,
    pub(super) pcsc: Pcsc,
    /// When the state of PC/SC began.
    pub(super) pcsc_time: Option<SystemTime>,
    /// The problem of PC/SC, or empty.
    pub(super) pcsc_problem: String,
    /// The number of log lines that were dropped.
    pub(super) lost_log_lines: i64,
    /// The problem of the last reload of the configuration, or empty.
    pub(super) reload_problem: String,
}

/// The state of PC/SC, as the broker sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pcsc {
    Serving,
    Unavailable,
    Simulated,
    Unknown,
}

/// A reader, its card, its holder and its waiters.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    /// The name for requests: `readers/{id}`, exactly as the broker sent it.
    pub(super) name: String,
    /// The reader's id, printable, for people.
    pub(super) id: String,
    pub(super) display_name: String,
    /// The state in small letters.
    pub(super) state: String,
    pub(super) usability: Usability,
    pub(super) state_time: Option<SystemTime>,
    pub(super) holder: Option<Holder>,
    pub(super) driver_call: Option<DriverCall>,
    /// The first waiters, in the order of their turns.
    pub(super) waiters: Vec<Waiter>,
    /// The number of all waiters.
    pub(super) waiter_count: usize,
    /// The last incidents, the latest first.
    pub(super) incidents: Vec<Incident>,
    pub(super) counters: Counters,
    pub(super) tracers: Vec<Tracer>,
    /// The figures that this program computes from several states.
    pub(super) figures: Figures,
}

/// Whether a reader serves requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Usability {
    /// A card is there and usable, or will be soon.
    Usable,
    /// No card is there, which is no fault.
    NoCard,
    /// Something is wrong with the reader.
    Faulty,
}

/// Figures over a time, from several states.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Figures {
    pub(super) turns_per_second: Option<f64>,
    /// 99 of 100 turns waited at most this long.
    pub(super) p99_wait: Option<Duration>,
}

/// A caller, with printable texts.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Caller {
    pub(super) principal: String,
    pub(super) user_name: String,
    pub(super) process_id: Option<i32>,
    /// The name that the program gives itself, or empty.
    pub(super) program: String,
    pub(super) connection: i64,
    /// The number of the isolation group; 0 if the request is a group of its own.
    pub(super) group: i64,
    pub(super) via_sshd: bool,
}

/// A turn in progress, and its caller.
#[derive(Debug, Clone)]
pub(super) struct Holder {
    pub(super) lease: String,
    pub(super) is_session: bool,
    pub(super) caller: Caller,
    pub(super) begin_time: Option<SystemTime>,
    pub(super) arrive_time: Option<SystemTime>,
    /// Since when no command has run; `None` while one runs.
    pub(super) idle_time: Option<SystemTime>,
    pub(super) done_commands: i32,
    /// The number of commands of a unit; 0 for a session.
    pub(super) commands: i32,
    /// The class of the last command and how it ended, in words.
    pub(super) last_command: Option<String>,
    pub(super) is_released: bool,
    pub(super) released_by: Option<Caller>,
}

/// A call of the driver that has not returned.
#[derive(Debug, Clone, Copy)]
pub(super) struct DriverCall {
    pub(super) begin_time: Option<SystemTime>,
    /// Whether the broker has given it up.
    pub(super) is_overdue: bool,
}

/// A request that waits for its turn.
#[derive(Debug, Clone)]
pub(super) struct Waiter {
    pub(super) caller: Caller,
    pub(super) is_session: bool,
    pub(super) arrive_time: Option<SystemTime>,
    pub(super) deadline_time: Option<SystemTime>,
}

/// Something that an operator may want to know afterwards.
#[derive(Debug, Clone)]
pub(super) struct Incident {
    pub(super) time: Option<SystemTime>,
    /// The kind in small letters, with the reason if there is one.
    pub(super) kind: String,
    pub(super) message: String,
    pub(super) caller: Option<Caller>,
    /// How often it happened in a row.
    pub(super) count: i32,
}

/// Counters of one reader in this run of the broker.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counters {
    pub(super) units: i64,
    pub(super) sessions: i64,
    pub(super) commands: i64,
    pub(super) failed_commands: i64,
    pub(super) resets: i64,
    pub(super) insertions: i64,
    pub(super) denied: i64,
    pub(super) not_served: i64,
    pub(super) releases: i64,
    /// The time of all calls of the driver for commands.
    pub(super) card_time: Duration,
    /// The waiting time of all turns.
    pub(super) wait_time: Duration,
}

/// A trace that runs, and its operator.
#[derive(Debug, Clone)]
pub(super) struct Tracer {
    pub(super) caller: Caller,
    pub(super) shows_data: bool,
    pub(super) begin_time: Option<SystemTime>,
}

/// The time from `begin` to `now`; zero if the clock says that it has not begun.
pub(super) fn age(begin: Option<SystemTime>, now: SystemTime) -> Option<Duration> {
    Some(now.duration_since(begin?).unwrap_or_default())
}

/// The time since `begin` as the end of a sentence: ` for 2 min 5 s`; nothing if it is unknown.
pub(super) fn lasting(begin: Option<SystemTime>, now: SystemTime) -> String {
    age(begin, now).map(|time| format!(" for {}", elapsed_long(time))).unwrap_or_default()
}

impl Reader {
    /// How long the holder has had its turn.
    pub(super) fn held(&self, now: SystemTime) -> Option<Duration> {
        age(self.holder.as_ref()?.begin_time, now)
    }

    /// The wait so far of the request that has waited longest.
    pub(super) fn longest_wait(&self, now: SystemTime) -> Option<Duration> {
        self.waiters.iter().filter_map(|waiter| age(waiter.arrive_time, now)).max()
    }
}

impl Counters {
    /// Units and sessions that got their turn.
    pub(super) fn turns(&self) -> i64 {
        self.units.saturating_add(self.sessions)
    }
}

impl Caller {
    /// The login name, or else the principal, for a table. The SID of a machine's or a domain's user is shortened, but
    /// for the last number of the domain: each domain has a user 1001.
    pub(super) fn user(&self) -> String {
        if !self.user_name.is_empty() {
            return self.user_name.clone();
        }
        let numbers =
            self.principal.strip_prefix("user S-1-5-21-").map(|rest| rest.rsplitn(3, '-').collect::<Vec<_>>());
        match numbers.as_deref() {
            Some([last, domain, _]) => format!("user S-1-5-21-…-{domain}-{last}"),
            _ => self.principal.clone(),
        }
    }

    /// User, process and program, for a table: `alice 4711 "firefox"`. Quotes mark what a program says of itself.
    pub(super) fn short(&self) -> String {
        // Two numbers side by side would be unclear.
        let word = if self.user_name.is_empty() { " process" } else { "" };
        let process = self.process_id.map(|id| format!("{word} {id}")).unwrap_or_default();
        let program = if self.program.is_empty() { String::new() } else { format!(" {}", quoted(&self.program)) };
        format!("{}{process}{program}", self.user())
    }

    /// Everything that is known, for the page of one reader.
    pub(super) fn full(&self) -> String {
        let name = if self.user_name.is_empty() { String::new() } else { format!(" ({})", self.user_name) };
        let program =
            if self.program.is_empty() { String::new() } else { format!(" (says {})", quoted(&self.program)) };
        let process = self.process_id.map(|id| format!("process {id}{program} of ")).unwrap_or_default();
        let group = if self.group == 0 { String::new() } else { format!(", group {}", self.group) };
        let sshd = if self.via_sshd { " via sshd" } else { "" };
        format!("{process}{}{name}{sshd}, connection {}{group}", self.principal, self.connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sid_is_short_in_tables_and_whole_on_the_page() {
        let sid = "user S-1-5-21-1004336348-1177238915-682003330-1001";
        let caller = |principal: &str, user_name: &str| Caller {
            principal: principal.into(),
            user_name: user_name.into(),
            process_id: Some(7),
            ..Caller::default()
        };
        for (principal, name, expected) in [
            (sid, "", "user S-1-5-21-…-682003330-1001 process 7"),
            // The user with the same number in another domain.
            ("user S-1-5-21-1004336348-1177238915-7-1001", "", "user S-1-5-21-…-7-1001 process 7"),
            ("user S-1-5-21-7", "", "user S-1-5-21-7 process 7"),
            (sid, "CORP\\anna", "CORP\\anna 7"),
            ("user S-1-5-18", "", "user S-1-5-18 process 7"),
            ("user 1000", "", "user 1000 process 7"),
        ] {
            assert_eq!(caller(principal, name).short(), expected);
        }
        assert_eq!(caller(sid, "").full(), format!("process 7 of {sid}, connection 0"));
    }
}
