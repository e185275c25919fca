//! From the messages of the contract to the screen's model. Every text from outside is escaped here.

use std::time::SystemTime;

use cardbroker_client::{
    ReaderState,
    diagnostics::{self, PcscState, duration, time},
};

use super::model::{
    Broker, Caller, Counters, DriverCall, Figures, Holder, Incident, Pcsc, Reader, Snapshot, Tracer, Usability, Waiter,
};
use crate::words::{incident_kind, last_command, plain, reason, spoken};

/// The model of a state.
pub(super) fn snapshot(status: diagnostics::Status) -> Snapshot {
    Snapshot {
        now: time(status.now).unwrap_or(SystemTime::UNIX_EPOCH),
        epoch: status.epoch,
        broker: status.broker.map(broker),
        readers: status.readers.into_iter().map(reader).collect(),
    }
}

fn broker(broker: diagnostics::BrokerStatus) -> Broker {
    let connections = broker.listeners.iter().map(|listener| u64::try_from(listener.connection_count).unwrap_or(0));
    let connections = connections.sum();
    let pcsc = broker.pcsc.unwrap_or_default();
    Broker {
        version: plain(&broker.version),
        start_time: time(broker.start_time),
        connections,
        pcsc: match pcsc.state() {
            PcscState::Serving => Pcsc::Serving,
            PcscState::Unavailable => Pcsc::Unavailable,
            PcscState::Simulated => Pcsc::Simulated,
            PcscState::Unspecified => Pcsc::Unknown,
        },
        pcsc_time: time(pcsc.state_time),
        pcsc_problem: plain(&pcsc.problem),
        lost_log_lines: broker.lost_log_line_count,
        reload_problem: plain(&broker.last_reload.unwrap_or_default().problem),
    }
}

fn reader(status: diagnostics::ReaderStatus) -> Reader {
    let reader = status.reader.unwrap_or_default();
    let state = ReaderState::try_from(reader.state);
    let name = |state: ReaderState| spoken(state.as_str_name().trim_start_matches("READER_STATE_"));
    Reader {
        id: plain(reader.name.trim_start_matches("readers/")),
        name: reader.name,
        display_name: plain(&reader.display_name),
        state: state.map_or_else(|_| format!("state {}", reader.state), name),
        usability: match state {
            Ok(ReaderState::Ready | ReaderState::Settling) => Usability::Usable,
            Ok(ReaderState::Empty) => Usability::NoCard,
            _ => Usability::Faulty,
        },
        state_time: time(status.state_time),
        holder: status.holder.map(holder),
        driver_call: status
            .driver_call
            .map(|call| DriverCall { begin_time: time(call.begin_time), is_overdue: call.is_overdue }),
        waiter_count: usize::try_from(status.waiter_count).unwrap_or_default().max(status.waiters.len()),
        waiters: status.waiters.into_iter().map(waiter).collect(),
        incidents: status.incidents.into_iter().map(incident).collect(),
        counters: counters(status.counters.unwrap_or_default()),
        tracers: status.tracers.into_iter().map(tracer).collect(),
        figures: Figures::default(),
    }
}

fn holder(holder: diagnostics::Holder) -> Holder {
    Holder {
        lease: holder.lease,
        is_session: holder.is_session,
        caller: caller(holder.caller.unwrap_or_default()),
        begin_time: time(holder.begin_time),
        arrive_time: time(holder.arrive_time),
        idle_time: time(holder.idle_time),
        done_commands: holder.done_command_count,
        commands: holder.command_count,
        last_command: holder.last_command.as_ref().map(last_command),
        is_released: holder.is_released,
        released_by: holder.released_by.map(caller),
    }
}

fn waiter(waiter: diagnostics::Waiter) -> Waiter {
    Waiter {
        caller: caller(waiter.caller.unwrap_or_default()),
        is_session: waiter.is_session,
        arrive_time: time(waiter.arrive_time),
        deadline_time: time(waiter.deadline_time),
    }
}

fn incident(incident: diagnostics::Incident) -> Incident {
    let kind = spoken(&incident_kind(incident.kind));
    let reason = reason(incident.reason).map(|reason| spoken(&reason));
    Incident {
        time: time(incident.time),
        // A reason that repeats the kind says nothing new.
        kind: match reason.filter(|reason| *reason != kind) {
            Some(reason) => format!("{kind} ({reason})"),
            None => kind,
        },
        message: plain(&incident.message),
        caller: incident.caller.map(caller),
        count: incident.count,
    }
}

fn counters(counters: diagnostics::ReaderCounters) -> Counters {
    Counters {
        units: counters.unit_count,
        sessions: counters.session_count,
        commands: counters.command_count,
        failed_commands: counters.failed_command_count,
        resets: counters.reset_count,
        insertions: counters.insertion_count,
        denied: counters.denied_count,
        not_served: counters.not_served_count,
        releases: counters.release_count,
        card_time: duration(counters.card_time),
        wait_time: duration(counters.wait_time),
    }
}

fn tracer(tracer: diagnostics::Tracer) -> Tracer {
    Tracer {
        caller: caller(tracer.caller.unwrap_or_default()),
        shows_data: tracer.shows_data,
        begin_time: time(tracer.begin_time),
    }
}

fn caller(caller: diagnostics::Caller) -> Caller {
    Caller {
        principal: plain(&caller.principal),
        user_name: plain(&caller.user_name),
        process_id: caller.process_id,
        program: plain(&caller.program),
        connection: caller.connection,
        group: caller.group,
        via_sshd: caller.via_sshd,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::examples::busy_status;

    #[test]
    fn every_text_from_outside_is_escaped() {
        let mut status = busy_status(0);
        let bell = || "\u{7}".to_owned();
        let broker = status.broker.as_mut().unwrap();
        broker.version = bell();
        broker.pcsc.as_mut().unwrap().problem = bell();
        broker.last_reload = Some(diagnostics::Reload { problem: bell(), ..diagnostics::Reload::default() });
        let desk = &mut status.readers[0];
        let reader = desk.reader.as_mut().unwrap();
        (reader.name, reader.display_name) = ("readers/\u{7}".to_owned(), bell());
        desk.incidents[0].message = bell();
        let holder = desk.holder.as_mut().unwrap().caller.as_mut().unwrap();
        (holder.principal, holder.user_name, holder.program) = (bell(), bell(), bell());

        let snapshot = snapshot(status);
        let (broker, desk) = (snapshot.broker.as_ref().unwrap(), &snapshot.readers[0]);
        let caller = &desk.holder.as_ref().unwrap().caller;
        let texts = [
            [&broker.version, &broker.pcsc_problem, &broker.reload_problem],
            [&desk.id, &desk.display_name, &desk.incidents[0].message],
            [&caller.principal, &caller.user_name, &caller.program],
        ];
        assert_eq!(texts, [["\\u{7}"; 3]; 3]);
    }
}
