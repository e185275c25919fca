//! The text of a report. Every value comes from a closed set, is a number, or goes through a mask; a field that is not
//! named here is not in the report.

use std::{
    fmt::Write,
    time::{Duration, SystemTime},
};

use cardbroker_client::{
    ErrorReason, Reader,
    diagnostics::{BrokerStatus, Holder, Incident, ReaderCounters, ReaderStatus, duration, time},
};

use super::{
    mask::{Numbers, atr, reader_name, version},
    system::System,
};
use crate::{
    clock::rfc3339_seconds,
    doctor::{Answer, Facts, Finding},
    json, words,
};

const NOTE: &str = "\
Users and processes are numbered. Left out are the names of users, machines, programs and readers' aliases, paths,
serial numbers, the historical bytes of ATRs, commands, messages and log lines.
";

/// A report in the making.
struct Report {
    text: String,
    numbers: Numbers,
    /// The moment from which times are counted: the broker's.
    now: SystemTime,
    /// Words that no reader's name may show.
    private: Vec<String>,
}

/// Writes the report of `now`. `private` are further names that it must not show.
pub(super) fn write(
    facts: &Facts,
    findings: &[Finding],
    system: &System,
    now: SystemTime,
    private: &[String],
) -> String {
    let status = facts.status.given();
    let mut report = Report {
        text: format!(
            "Cardbroker report of {}\n\n{NOTE}",
            rfc3339_seconds(now).as_deref().unwrap_or("an unknown time")
        ),
        numbers: Numbers::default(),
        now: status.and_then(|status| time(status.now)).unwrap_or(now),
        private: private_words(facts, private),
    };
    report.versions(facts, system);
    report.head("Doctor");
    for finding in findings {
        report.row(finding.check, &format!("{}: {}", finding.level.name(), finding.name));
    }
    report.broker(facts);
    match (status, facts.readers.given()) {
        (Some(status), _) => status.readers.iter().enumerate().for_each(|(index, status)| report.status(index, status)),
        (None, Some(readers)) => readers.iter().enumerate().for_each(|(index, reader)| report.reader(index, reader)),
        (None, None) => {}
    }
    report.text
}

/// The names of all users that the facts contain.
fn private_words(facts: &Facts, private: &[String]) -> Vec<String> {
    let mut words = private.to_vec();
    words.push(facts.me.name.clone());
    for reader in facts.status.given().map(|status| status.readers.as_slice()).unwrap_or_default() {
        let holder = reader.holder.as_ref().and_then(|holder| holder.caller.as_ref());
        let waiters = reader.waiters.iter().filter_map(|waiter| waiter.caller.as_ref());
        let incidents = reader.incidents.iter().filter_map(|incident| incident.caller.as_ref());
        words.extend(holder.into_iter().chain(waiters).chain(incidents).map(|caller| caller.user_name.clone()));
    }
    words.retain(|word| !word.is_empty());
    words
}

impl Report {
    fn head(&mut self, title: &str) {
        // Writing to a string does not fail.
        let _ = write!(self.text, "\n{title}\n");
    }

    fn row(&mut self, label: &str, text: &str) {
        let _ = writeln!(self.text, "  {label:<24}{text}");
    }

    fn versions(&mut self, facts: &Facts, system: &System) {
        self.head("Versions");
        self.row("cardbroker", &version(facts.version));
        let broker = match &facts.broker {
            Answer::Given(broker) => version(&broker.version),
            Answer::Failed(error) => format!("no answer ({})", error.reason().map_or("none", ErrorReason::short_name)),
            Answer::Silent => "no answer (silent)".to_owned(),
            Answer::NotAsked => "not found".to_owned(),
        };
        self.row("cardbrokerd", &broker);
        match &facts.windows {
            Some(windows) => self.row("SCardSvr", windows.pcsc.map_or("unknown", |state| state.word())),
            None => self.row("pcscd", system.pcscd.as_deref().unwrap_or("unknown")),
        }
        self.row("system", &system.name);
    }

    fn broker(&mut self, facts: &Facts) {
        let Some(broker) = facts.broker.given() else { return };
        self.head("Broker");
        let me = self.numbers.principal(&broker.principal);
        self.row("you", &format!("{me}{}", if broker.is_connection { ", by connection" } else { "" }));
        for (name, value) in &broker.limits {
            self.row(name, &value.to_string());
        }
        match (facts.status.given(), &facts.status) {
            (Some(status), _) => {
                if let Some(broker) = &status.broker {
                    self.inside(broker);
                }
            }
            (None, Answer::Failed(error)) => {
                let reason = error.reason().map_or("none", ErrorReason::short_name);
                self.row("status", &format!("refused ({reason})"));
            }
            (None, _) => self.row("status", "none"),
        }
    }

    fn inside(&mut self, broker: &BrokerStatus) {
        let user = self.numbers.principal(&broker.user);
        self.row("runs as", &user);
        let started = self.since(time(broker.start_time));
        self.row("started", &started);
        if let Some(pcsc) = &broker.pcsc {
            let state = words::pcsc_state(pcsc.state);
            let since = self.since(time(pcsc.state_time));
            self.row("PC/SC", &format!("{state}, since {since}"));
        }
        if let Some(reload) = &broker.last_reload {
            let end = if reload.problem.is_empty() { "succeeded" } else { "refused" };
            let since = self.since(time(reload.end_time));
            self.row("last reload", &format!("{end}, {since}"));
        }
        for listener in &broker.listeners {
            let kind =
                ["unix", "https", "http"].into_iter().find(|kind| listener.address.starts_with(&format!("{kind}:")));
            let connections = words::count(listener.connection_count.into(), "connection");
            self.row("listener", &format!("{}, {connections}", kind.unwrap_or("other")));
        }
        for connections in &broker.connections {
            let principal = self.numbers.principal(&connections.principal);
            self.row("connections", &format!("{principal}: {}", connections.count));
        }
        for (label, count) in [
            ("lost log lines", broker.lost_log_line_count),
            ("over budget", broker.over_budget_count),
            ("denied", broker.denied_count),
            ("unauthenticated", broker.unauthenticated_count),
        ] {
            self.row(label, &count.to_string());
        }
    }

    /// The facts about a reader that all callers see. Aliases are chosen by people, so readers are numbered.
    fn reader(&mut self, index: usize, reader: &Reader) {
        self.head(&format!("Reader {}", index + 1));
        let name = reader_name(&reader.display_name, &self.private);
        self.row("name", &name);
        self.row("state", &json::state(reader));
        if !reader.atr.is_empty() {
            let protocol = json::protocol(reader.active_protocol).unwrap_or_default();
            self.row("card", &format!("{} {protocol}", atr(&reader.atr)));
        }
        self.row("insertions", &reader.insertion_count.to_string());
    }

    /// The facts about a reader that operators see.
    fn status(&mut self, index: usize, status: &ReaderStatus) {
        self.reader(index, &status.reader.clone().unwrap_or_default());
        let since = self.since(time(status.state_time));
        self.row("state since", &since);
        if let Some(holder) = &status.holder {
            self.holder(holder);
        }
        if let Some(call) = &status.driver_call {
            let overdue = if call.is_overdue { ", overdue" } else { "" };
            let since = self.since(time(call.begin_time));
            self.row("driver call", &format!("since {since}{overdue}"));
        }
        self.row("waiters", &status.waiter_count.to_string());
        for waiter in &status.waiters {
            let caller = self.numbers.caller(&waiter.caller.clone().unwrap_or_default());
            let kind = words::turn_kind(waiter.is_session);
            let since = self.since(time(waiter.arrive_time));
            self.row("waiter", &format!("{kind} of {caller}, since {since}"));
        }
        if let Some(counters) = &status.counters {
            self.counters(counters);
        }
        self.row("traces", &status.tracers.len().to_string());
        for incident in &status.incidents {
            self.incident(incident);
        }
    }

    fn holder(&mut self, holder: &Holder) {
        let caller = self.numbers.caller(&holder.caller.clone().unwrap_or_default());
        let kind = words::turn_kind(holder.is_session);
        let since = self.since(time(holder.begin_time));
        self.row("holder", &format!("{kind} of {caller}, since {since}"));
        let commands = match holder.command_count {
            0 => format!("{} done", holder.done_command_count),
            all => format!("{} of {all} done", holder.done_command_count),
        };
        let last = holder.last_command.as_ref().map(|last| {
            let class = words::command_class(last.command_class);
            let end = words::command_end(last.end);
            format!(", last {class} {end}")
        });
        let idle = holder.idle_time.map(|idle| format!(", idle since {}", self.since(time(Some(idle)))));
        let released = if holder.is_released { ", released" } else { "" };
        let idle = idle.unwrap_or_default();
        self.row("commands", &format!("{commands}{}{idle}{released}", last.unwrap_or_default()));
    }

    fn counters(&mut self, counters: &ReaderCounters) {
        for (label, count) in [
            ("units", counters.unit_count),
            ("sessions", counters.session_count),
            ("commands", counters.command_count),
            ("failed commands", counters.failed_command_count),
            ("resets", counters.reset_count),
            ("denied", counters.denied_count),
            ("not served", counters.not_served_count),
            ("releases", counters.release_count),
        ] {
            self.row(label, &count.to_string());
        }
        self.row("card time", &format!("{} ms", duration(counters.card_time).as_millis()));
        self.row("wait time", &format!("{} ms", duration(counters.wait_time).as_millis()));
    }

    fn incident(&mut self, incident: &Incident) {
        let kind = words::incident_kind(incident.kind);
        let reason = words::reason(incident.reason).map(|reason| format!(", reason {reason}")).unwrap_or_default();
        let caller = incident.caller.as_ref().map(|caller| format!(", {}", self.numbers.caller(caller)));
        let times = if incident.count > 1 { format!(", {} times", incident.count) } else { String::new() };
        let since = self.since(time(incident.time));
        self.row("incident", &format!("{kind}{reason}{times}, {since}{}", caller.unwrap_or_default()));
    }

    /// How long before the report it was.
    fn since(&self, time: Option<SystemTime>) -> String {
        let Some(time) = time else { return "unknown".to_owned() };
        let whole = |duration: Duration| Duration::from_secs(duration.as_secs());
        let ago = self.now.duration_since(time).map(whole).unwrap_or_default();
        format!("{} ago", humantime::format_duration(ago))
    }
}
