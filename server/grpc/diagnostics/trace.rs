//! `Trace`: what happens at readers, as it happens. The connection pulls the stream; what it does not pull in time is
//! counted.

use std::{sync::Arc, time::Duration};

use cardbroker_core::{
    error::Failure,
    journal::{Batch, CommandEnd, CommandFacts, EventKind, TraceLevel, TurnEnd},
    slot::ResetKind,
};
use cardbroker_proto::{
    diagnostics::v1::{self as wire, TraceEvent, TraceResponse, trace_event},
    v1::{CardProtocol, ErrorReason},
};
use futures_core::Stream;
use tonic::Status;

use super::{Diagnostics, status::wire_class};
use crate::{
    broker::Trace,
    grpc::{
        convert::{to_i32, to_i64, wire_bytes},
        heartbeat::Heartbeat,
        readers::wire_protocol,
        status::{to_status, wire_reason},
        wall_clock::timestamp,
        watch_readers::stopping,
    },
    registry::READER_PREFIX,
    trace::TraceItem,
};

/// One trace and its stream.
struct Tracing {
    diagnostics: Diagnostics,
    trace: Trace,
    heartbeat: Heartbeat,
    has_sent: bool,
}

impl Diagnostics {
    /// Returns the stream of a trace. Its first message comes at once.
    pub(super) fn trace_stream(self, trace: Trace) -> impl Stream<Item = Result<TraceResponse, Status>> + Send {
        let heartbeat = Heartbeat::new(self.heartbeat_interval);
        let tracing = Tracing { diagnostics: self, trace, heartbeat, has_sent: false };
        futures_util::stream::unfold(Some(tracing), |tracing| async {
            let mut tracing = tracing?;
            match tracing.next().await {
                Ok(response) => Some((Ok(response), Some(tracing))),
                Err(failure) => Some((Err(to_status(&failure, None)), None)),
            }
        })
    }

    /// Converts events, with their callers, in order.
    async fn events(&self, items: &[Arc<TraceItem>], level: TraceLevel) -> Vec<TraceEvent> {
        let mut events = Vec::with_capacity(items.len());
        for item in items {
            events.push(TraceEvent {
                caller: self.some_caller(item.event.origin.as_ref()).await,
                lease: item.event.lease.map(|lease| self.lease(lease)).unwrap_or_default(),
                ..trace_event(item, level)
            });
        }
        events
    }
}

impl Tracing {
    /// Returns the next message: events, or a heartbeat.
    async fn next(&mut self) -> Result<TraceResponse, Failure> {
        let Self { diagnostics, trace, heartbeat, has_sent } = self;
        let batch = if *has_sent {
            let next = async {
                tokio::select! {
                    biased;
                    () = diagnostics.draining.cancelled() => Err(stopping()),
                    batch = trace.next() => Ok(batch),
                }
            };
            heartbeat.next_or_silence(next).await.transpose()?
        } else {
            trace.from_recorders()
        };
        *has_sent = true;
        let Batch { missed, items } = batch.unwrap_or_else(|| Batch { missed: 0, items: Vec::new() });
        let events = diagnostics.events(&items, trace.level()).await;
        Ok(TraceResponse { events, missed_count: to_i64(missed), epoch: diagnostics.broker.epoch().to_string() })
    }
}

/// Converts an event, without its caller and its lease.
fn trace_event(item: &TraceItem, level: TraceLevel) -> TraceEvent {
    let event = &item.event;
    TraceEvent {
        time: Some(timestamp(event.at)),
        reader: format!("{READER_PREFIX}{}", item.reader.id),
        number: to_i64(item.number),
        is_recorded: item.is_recorded,
        caller: None,
        lease: String::new(),
        traceparent: event.origin.iter().find_map(|origin| origin.traceparent.as_deref()).unwrap_or_default().into(),
        event: wire_event(&event.kind, level),
    }
}

fn wire_event(kind: &EventKind, level: TraceLevel) -> Option<trace_event::Event> {
    use trace_event::Event;
    Some(match kind {
        EventKind::TurnBegan { is_session, commands, waited } => Event::TurnBegan(wire::TurnBegan {
            is_session: *is_session,
            command_count: to_i32(*commands),
            waited: wire_duration(*waited),
        }),
        EventKind::TurnEnded { end, held } => Event::TurnEnded(wire::TurnEnded {
            reason: match end {
                TurnEnd::Failed(reason) => wire_reason(*reason),
                TurnEnd::Ok | TurnEnd::Abandoned => ErrorReason::Unspecified,
            }
            .into(),
            is_abandoned: *end == TurnEnd::Abandoned,
            held: wire_duration(*held),
        }),
        EventKind::Command(command) => Event::Command(wire_command(command, level)),
        EventKind::Reset { kind, answered, took } => Event::Reset(wire::ResetEvent {
            is_cold: *kind == ResetKind::Cold,
            failed: !answered,
            duration: wire_duration(*took),
        }),
        EventKind::Inserted { insertion_id, atr, protocol } => Event::CardInserted(wire::CardInserted {
            insertion_id: insertion_id.clone(),
            atr: atr.clone(),
            protocol: protocol.map_or(CardProtocol::Unspecified, wire_protocol).into(),
        }),
        EventKind::Removed => Event::CardRemoved(wire::CardRemoved {}),
        EventKind::Denied { operation, rule } => {
            Event::Denial(wire::DenialEvent { operation: operation.as_str().to_owned(), rule: rule.to_string() })
        }
        EventKind::NotServed { reason } => Event::NotServed(wire::NotServedEvent {
            reason: reason.map_or(ErrorReason::Unspecified, wire_reason).into(),
        }),
        EventKind::Released { .. } => return None,
    })
}

fn wire_command(command: &CommandFacts, level: TraceLevel) -> wire::CommandEvent {
    let CommandFacts { index, is_continuation, class, end, view, data, .. } = command;
    let data = data.as_ref().filter(|_| level == TraceLevel::Data);
    let shows_tries = level == TraceLevel::Data;
    wire::CommandEvent {
        index: to_i32(*index),
        is_continuation: *is_continuation,
        command_class: wire_class(*class).into(),
        header: view.header.map(Vec::from).unwrap_or_default(),
        expected_length: view.expected_length.and_then(|length| i32::try_from(length).ok()),
        application: view.application.map(|application| application.bytes().to_vec()).unwrap_or_default(),
        status_word: view.word.map(|word| word.text(shows_tries)).unwrap_or_default(),
        failed: *end == CommandEnd::Failed,
        duration: wire_duration(view.duration),
        is_masked: data.is_none() && view.hides_data,
        command: data.map(|data| wire_bytes(&data.command)).unwrap_or_default(),
        response: data.and_then(|data| data.response.as_ref()).map(wire_bytes).unwrap_or_default(),
    }
}

fn wire_duration(duration: Duration) -> Option<prost_types::Duration> {
    duration.try_into().ok()
}
