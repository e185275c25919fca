//! The state in JSON, with the names of the contract's fields; times in RFC 3339, durations in milliseconds.

use std::time::SystemTime;

use cardbroker_client::diagnostics::{
    self, BrokerStatus, Caller, ConnectionCount, DriverCall, Holder, Incident, Listener, ReaderCounters, ReaderStatus,
    Status, Tracer, Waiter,
};
use serde_json::{Value, json};

use crate::{
    clock::rfc3339,
    json::{self, filled, reader, whole_milliseconds},
    words::{command_class, command_end, incident_kind, pcsc_state, reason},
};

pub(crate) fn status(status: &Status) -> Value {
    json!({
        "now": time(status.now),
        "epoch": status.epoch,
        "broker": status.broker.as_ref().map(broker),
        "readers": status.readers.iter().map(reader_status).collect::<Vec<_>>(),
    })
}

fn broker(broker: &BrokerStatus) -> Value {
    let listener =
        |listener: &Listener| json!({ "address": listener.address, "connection_count": listener.connection_count });
    let connections = |counted: &ConnectionCount| {
        let ConnectionCount { address, principal, count } = counted;
        json!({ "address": address, "principal": principal, "count": count })
    };
    json!({
        "version": broker.version,
        "process_id": broker.process_id,
        "user": broker.user,
        "start_time": time(broker.start_time),
        "config_file": filled(&broker.config_file),
        "config_digest": filled(&broker.config_digest),
        "last_reload": broker.last_reload.as_ref().map(|reload| json!({
            "end_time": time(reload.end_time), "problem": filled(&reload.problem),
        })),
        "listeners": broker.listeners.iter().map(listener).collect::<Vec<_>>(),
        "connections": broker.connections.iter().map(connections).collect::<Vec<_>>(),
        "pcsc": broker.pcsc.as_ref().map(|pcsc| json!({
            "state": pcsc_state(pcsc.state),
            "state_time": time(pcsc.state_time),
            "problem": filled(&pcsc.problem),
        })),
        "lost_log_line_count": broker.lost_log_line_count,
        "log_filter": broker.log_filter,
        "log_filter_revert_time": time(broker.log_filter_revert_time),
        "over_budget_count": broker.over_budget_count,
        "denied_count": broker.denied_count,
        "unauthenticated_count": broker.unauthenticated_count,
    })
}

/// The fields of the reader as `readers` prints them, and what operators see besides.
fn reader_status(status: &ReaderStatus) -> Value {
    let mut told = reader(&status.reader.clone().unwrap_or_default());
    told["state_time"] = time(status.state_time);
    told["holder"] = status.holder.as_ref().map(holder).into();
    told["driver_call"] = status.driver_call.as_ref().map(driver_call).into();
    told["waiters"] = status.waiters.iter().map(waiter).collect();
    told["waiter_count"] = status.waiter_count.into();
    told["incidents"] = status.incidents.iter().map(incident).collect();
    told["counters"] = status.counters.as_ref().map(counters).into();
    told["tracers"] = status.tracers.iter().map(tracer).collect();
    told
}

pub(crate) fn caller(caller: &Caller) -> Value {
    json!(json::Caller::from(caller))
}

pub(crate) fn holder(holder: &Holder) -> Value {
    json!({
        "lease": holder.lease,
        "is_session": holder.is_session,
        "caller": holder.caller.as_ref().map(caller),
        "begin_time": time(holder.begin_time),
        "arrive_time": time(holder.arrive_time),
        "idle_time": time(holder.idle_time),
        "done_command_count": holder.done_command_count,
        "command_count": holder.command_count,
        "last_command": holder.last_command.as_ref().map(|last| json!({
            "command_class": command_class(last.command_class),
            "end": Some(command_end(last.end)).filter(|_| last.end != 0),
        })),
        "is_released": holder.is_released,
        "released_by": holder.released_by.as_ref().map(caller),
    })
}

pub(crate) fn driver_call(call: &DriverCall) -> Value {
    json!({ "begin_time": time(call.begin_time), "is_overdue": call.is_overdue })
}

fn waiter(waiter: &Waiter) -> Value {
    json!({
        "caller": waiter.caller.as_ref().map(caller),
        "is_session": waiter.is_session,
        "arrive_time": time(waiter.arrive_time),
        "deadline_time": time(waiter.deadline_time),
    })
}

fn incident(incident: &Incident) -> Value {
    json!({
        "time": time(incident.time),
        "kind": incident_kind(incident.kind),
        "reason": reason(incident.reason),
        "message": incident.message,
        "caller": incident.caller.as_ref().map(caller),
        "count": incident.count,
    })
}

fn counters(counters: &ReaderCounters) -> Value {
    json!({
        "unit_count": counters.unit_count,
        "session_count": counters.session_count,
        "command_count": counters.command_count,
        "failed_command_count": counters.failed_command_count,
        "reset_count": counters.reset_count,
        "insertion_count": counters.insertion_count,
        "denied_count": counters.denied_count,
        "not_served_count": counters.not_served_count,
        "release_count": counters.release_count,
        "card_time_ms": whole_milliseconds(diagnostics::duration(counters.card_time)),
        "wait_time_ms": whole_milliseconds(diagnostics::duration(counters.wait_time)),
    })
}

fn tracer(tracer: &Tracer) -> Value {
    json!({
        "caller": tracer.caller.as_ref().map(caller),
        "shows_data": tracer.shows_data,
        "begin_time": time(tracer.begin_time),
    })
}

/// The time in RFC 3339, or `null`.
pub(crate) fn time(wire: Option<impl TryInto<SystemTime>>) -> Value {
    diagnostics::time(wire).and_then(rfc3339).into()
}
