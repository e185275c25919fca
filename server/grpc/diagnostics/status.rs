//! Converts a diagnosis to the contract's status.

use std::{sync::Arc, time::Instant};

use cardbroker_core::{
    caller::{Caller, Principal},
    journal::{CommandClass, CommandEnd, Counters, Incident, IncidentKind, Origin, TraceLevel},
    turns::{lease::LeaseNumber, waiting::TurnKind},
};
use cardbroker_proto::{
    diagnostics::v1::{self as wire, Holder, LastCommand, ReaderCounters, ReaderStatus, Tracer, Waiter},
    v1::ErrorReason,
};

use super::Diagnostics;
use crate::{
    broker::{DiagnosedReader, Diagnosis},
    grpc::{
        convert::{to_i32, to_i64},
        readers::wire_reader,
        status::wire_reason,
        wall_clock::timestamp,
    },
    reader::snapshot::{DriverCall, HolderSnapshot, ReaderSnapshot, WaiterSnapshot},
    trace::RunningTracer,
};

impl Diagnostics {
    /// Converts a diagnosis to the contract's type.
    pub(super) async fn wire_status(&self, diagnosis: &Diagnosis) -> wire::Status {
        let mut readers = Vec::with_capacity(diagnosis.readers.len());
        for reader in &diagnosis.readers {
            readers.push(self.reader(reader).await);
        }
        wire::Status {
            now: Some(timestamp(diagnosis.at)),
            epoch: self.broker.epoch().to_string(),
            broker: diagnosis.includes_broker.then(|| self.broker_status()),
            readers,
        }
    }

    async fn reader(&self, DiagnosedReader { view, snapshot }: &DiagnosedReader) -> ReaderStatus {
        let reader = Some(wire_reader(view));
        let Some(snapshot) = snapshot else { return ReaderStatus { reader, ..ReaderStatus::default() } };
        let ReaderSnapshot { state_since, holder, call, waiters, waiter_count, incidents, counters } = &**snapshot;
        let mut status = ReaderStatus {
            reader,
            state_time: Some(timestamp(*state_since)),
            driver_call: call.as_ref().map(driver_call),
            waiter_count: to_i32(*waiter_count),
            counters: Some(wire_counters(counters)),
            ..ReaderStatus::default()
        };
        if let Some(holder) = holder {
            status.holder = Some(self.holder(holder).await);
        }
        for WaiterSnapshot { origin, kind, arrived, deadline } in waiters {
            status.waiters.push(Waiter {
                caller: Some(self.caller(origin).await),
                is_session: *kind == TurnKind::Session,
                arrive_time: Some(timestamp(*arrived)),
                deadline_time: Some(timestamp(*deadline)),
            });
        }
        for incident in incidents {
            status.incidents.push(self.incident(incident).await);
        }
        for RunningTracer { origin, level, began } in self.broker.tracers_at(&view.names) {
            status.tracers.push(Tracer {
                caller: Some(self.caller(&origin).await),
                shows_data: level == TraceLevel::Data,
                begin_time: Some(timestamp(began)),
            });
        }
        status
    }

    /// The name of a lease, which is that of no other lease in any run.
    pub(super) fn lease(&self, lease: LeaseNumber) -> String {
        format!("{}-{:x}", self.broker.epoch(), lease.0)
    }

    async fn holder(&self, holder: &HolderSnapshot) -> Holder {
        let HolderSnapshot { lease, kind, origin, began, arrived, idle_since, progress, commands, released_by } =
            holder;
        Holder {
            lease: lease.map(|lease| self.lease(lease)).unwrap_or_default(),
            is_session: *kind == TurnKind::Session,
            caller: Some(self.caller(origin).await),
            begin_time: Some(timestamp(*began)),
            arrive_time: Some(timestamp(*arrived)),
            idle_time: idle_since.map(timestamp),
            done_command_count: to_i32(progress.done),
            command_count: to_i32(*commands),
            last_command: progress.last.map(|(class, end)| LastCommand {
                command_class: wire_class(class).into(),
                end: end.map_or(wire::CommandEnd::Unspecified, wire_end).into(),
            }),
            is_released: released_by.is_some(),
            released_by: self.some_caller(released_by.as_ref()).await,
        }
    }

    async fn incident(&self, incident: &Incident) -> wire::Incident {
        let Incident { at, count, kind, reason, message, origin } = incident;
        wire::Incident {
            time: Some(timestamp(*at)),
            kind: wire_incident(*kind).into(),
            reason: reason.map_or(ErrorReason::Unspecified, wire_reason).into(),
            message: message.clone(),
            caller: self.some_caller(origin.as_ref()).await,
            count: to_i32(*count),
        }
    }

    /// Converts the caller of a request, if there is one.
    pub(super) async fn some_caller(&self, origin: Option<&Arc<Origin>>) -> Option<wire::Caller> {
        Some(self.caller(origin?).await)
    }

    /// Converts the caller of a request.
    async fn caller(&self, origin: &Arc<Origin>) -> wire::Caller {
        let Caller { connection, pid, program, via_sshd, .. } = &origin.caller;
        let principal = origin.caller.principal();
        let name = match principal {
            Principal::User(user) => self.names.name(user).await,
            Principal::Token(_) | Principal::Unknown => None,
        };
        wire::Caller {
            principal: principal.to_string(),
            user_name: name.as_deref().map(printable).unwrap_or_default(),
            process_id: pid.and_then(|pid| i32::try_from(pid).ok()),
            program: program.as_deref().map(printable).unwrap_or_default(),
            connection: to_i64(*connection),
            group: origin.group.map_or(0, |group| to_i64(group.0)),
            via_sshd: *via_sshd,
        }
    }
}

/// Whether a character is no letter for people: a control character, or one that changes the direction of the text
/// around it.
pub(super) fn is_unprintable(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// A text that another program chose, with unprintable characters escaped.
fn printable(text: &str) -> String {
    text.chars().fold(String::new(), |mut printable, letter| {
        if is_unprintable(letter) {
            printable.extend(letter.escape_default())
        } else {
            printable.push(letter)
        }
        printable
    })
}

/// Converts a call of the driver.
pub(super) fn driver_call(call: &DriverCall) -> wire::DriverCall {
    let began: Instant = call.began;
    wire::DriverCall { begin_time: Some(timestamp(began)), is_overdue: call.is_overdue }
}

/// Converts the class of a command.
pub(super) fn wire_class(class: CommandClass) -> wire::CommandClass {
    match class {
        CommandClass::Select => wire::CommandClass::Select,
        CommandClass::Read => wire::CommandClass::Read,
        CommandClass::Verify => wire::CommandClass::Verify,
        CommandClass::Sign => wire::CommandClass::Sign,
        CommandClass::Manage => wire::CommandClass::Manage,
        CommandClass::Other => wire::CommandClass::Other,
    }
}

fn wire_end(end: CommandEnd) -> wire::CommandEnd {
    match end {
        CommandEnd::Well => wire::CommandEnd::Well,
        CommandEnd::Refused => wire::CommandEnd::Refused,
        CommandEnd::Failed => wire::CommandEnd::Failed,
    }
}

fn wire_incident(kind: IncidentKind) -> wire::IncidentKind {
    match kind {
        IncidentKind::Denied => wire::IncidentKind::Denied,
        IncidentKind::TurnFailed => wire::IncidentKind::TurnFailed,
        IncidentKind::NotServed => wire::IncidentKind::NotServed,
        IncidentKind::Released => wire::IncidentKind::Released,
        IncidentKind::Driver => wire::IncidentKind::Driver,
        IncidentKind::Reader => wire::IncidentKind::Reader,
    }
}

fn wire_counters(counters: &Counters) -> ReaderCounters {
    ReaderCounters {
        unit_count: to_i64(counters.units),
        session_count: to_i64(counters.sessions),
        command_count: to_i64(counters.commands),
        failed_command_count: to_i64(counters.failed_commands),
        reset_count: to_i64(counters.resets),
        insertion_count: to_i64(counters.insertions),
        denied_count: to_i64(counters.denied),
        not_served_count: to_i64(counters.not_served),
        release_count: to_i64(counters.released),
        card_time: counters.card_times.sum().try_into().ok(),
        wait_time: counters.wait_times.sum().try_into().ok(),
    }
}
