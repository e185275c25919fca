//! The trace: what operators see of turns and commands, and what nobody sees. The log shows the same.

mod complete;
mod places;
mod secret;

use anyhow::{Context, ensure};
use cardbroker_client::{ReaderState, hex};
use cardbroker_proto::diagnostics::v1::{
    CommandEvent, TraceEvent, TraceEventKind, TraceLevel, TraceRequest, TraceResponse,
    diagnostics_service_client::DiagnosticsServiceClient, trace_event::Event,
};
use cardbroker_tests::harness::broker::{Broker, Setup};
use tokio::time::timeout;
use tonic::{Code, Request, Streaming, transport::Channel};

use crate::{
    wire::{diagnostics, request, stub},
    world::{COUNT, LONG, SELECT_AND_FETCH, Stage, VERIFY, fault, over_both_backends, tell, unit, wait_for},
};

const READER: &str = "readers/simulated-reader-00";

/// A trace that runs, and what it has shown so far.
pub(crate) struct Following {
    stream: Streaming<TraceResponse>,
    pub(crate) events: Vec<TraceEvent>,
    pub(crate) missed: i64,
}

impl Following {
    /// Begins a trace. Its first message has arrived.
    pub(crate) async fn begin(broker: &Broker, request: TraceRequest) -> anyhow::Result<Self> {
        Self::of(diagnostics(broker).await?, request).await
    }

    pub(crate) async fn of(mut stub: DiagnosticsServiceClient<Channel>, request: TraceRequest) -> anyhow::Result<Self> {
        let stream = stub.trace(request).await?.into_inner();
        let mut following = Self { stream, events: Vec::new(), missed: 0 };
        following.read().await?;
        Ok(following)
    }

    pub(crate) async fn data(broker: &Broker) -> anyhow::Result<Self> {
        Self::begin(broker, TraceRequest { level: TraceLevel::Data.into(), ..TraceRequest::default() }).await
    }

    /// Reads one message; its events have no gap between them but the counted one before the first.
    pub(crate) async fn read(&mut self) -> anyhow::Result<()> {
        let TraceResponse { events, missed_count, epoch } = self.stream.message().await?.context("the trace ended")?;
        ensure!(epoch.len() == 16, "{epoch}");
        self.missed += missed_count;
        self.events.extend(events);
        Ok(())
    }

    /// Reads until the events fit.
    pub(crate) async fn until(&mut self, wished: impl Fn(&[TraceEvent]) -> bool) -> anyhow::Result<&[TraceEvent]> {
        let reading = async {
            while !wished(&self.events) {
                self.read().await?;
            }
            anyhow::Ok(())
        };
        let read = timeout(LONG, reading).await;
        let read = read.with_context(|| format!("not seen in time: {:#?}", texts(&self.events)));
        read??;
        Ok(&self.events)
    }

    /// Reads until this number of turns has ended.
    pub(crate) async fn turns(&mut self, count: usize) -> anyhow::Result<&[TraceEvent]> {
        let ended = |event: &&TraceEvent| matches!(event.event, Some(Event::TurnEnded(_)));
        self.until(|events| events.iter().filter(ended).count() >= count).await
    }
}

/// An event as text, without times and ids.
fn text(event: &TraceEvent) -> String {
    match event.event.as_ref() {
        Some(Event::TurnBegan(began)) => format!("turn of {} began", began.command_count),
        Some(Event::TurnEnded(ended)) => format!("turn ended {:?}", ended.reason().as_str_name()),
        Some(Event::Command(command)) => command_text(command),
        Some(Event::Reset(reset)) => format!("reset, failed: {}", reset.failed),
        Some(Event::CardInserted(_)) => "inserted".to_owned(),
        Some(Event::CardRemoved(_)) => "removed".to_owned(),
        Some(Event::Denial(denial)) => format!("{} denied by {}", denial.operation, denial.rule),
        Some(Event::NotServed(refused)) => format!("not served: {}", refused.reason().short_name()),
        None => "nothing".to_owned(),
    }
}

/// A command as `index header Le application status`, with `+` if the broker sent it by itself, its bytes if they are
/// shown, and `masked` if there is more.
fn command_text(command: &CommandEvent) -> String {
    let CommandEvent { index, header, expected_length, application, status_word, .. } = command;
    let (header, application) = (hex::format(header), hex::format(application));
    let length = expected_length.map(|length| format!(" Le={length}")).unwrap_or_default();
    let bytes = match command.command.is_empty() {
        true => String::new(),
        false => format!(" {} > {}", hex::format(&command.command), hex::format(&command.response)),
    };
    let masked = if command.is_masked { " masked" } else { "" };
    let more = if command.is_continuation { "+" } else { "" };
    format!("{index}{more} {header}{length} [{application}] {status_word}{bytes}{masked}")
}

pub(crate) fn texts(events: &[TraceEvent]) -> Vec<String> {
    events.iter().map(text).collect()
}

pub(crate) fn commands(events: &[TraceEvent]) -> Vec<&CommandEvent> {
    let commands = events.iter().filter_map(|event| match &event.event {
        Some(Event::Command(command)) => Some(command),
        _ => None,
    });
    commands.collect()
}

over_both_backends! { T1: a_turn_is_traced_from_its_beginning_to_its_end }

async fn a_turn_is_traced_from_its_beginning_to_its_end(stage: Stage) -> anyhow::Result<()> {
    let mut headers = Following::begin(&stage.broker, TraceRequest::default()).await?;
    let mut data = Following::data(&stage.broker).await?;
    stage.run(&[SELECT_AND_FETCH, VERIFY, COUNT]).await?;
    let seen = headers.turns(1).await?;
    let end = "turn ended \"ERROR_REASON_UNSPECIFIED\"";
    let told = texts(seen);
    let first = told.iter().position(|text| text.starts_with("turn of")).context("no turn")?;
    assert_eq!(
        told[first..],
        [
            "turn of 3 began",
            "1 00A40400 Le=256 [F04341524401] 6113",
            "1+ 00C00000 Le=19 [] 9000 masked",
            "2 00200080 [] 9000 masked",
            "3 80100000 [] 9000 masked",
            end
        ]
    );
    let turn = &seen[first..];
    let caller = turn[0].caller.as_ref().context("no caller")?;
    assert_eq!(caller.process_id, i32::try_from(std::process::id()).ok());
    for (index, event) in turn.iter().enumerate() {
        assert_eq!((&*event.reader, event.number), (stage.reader, turn[0].number + i64::try_from(index)?));
        assert!(event.caller.as_ref() == Some(caller) && event.lease == turn[0].lease && !event.lease.is_empty());
        assert!(event.time.is_some() && !event.is_recorded);
    }
    let seen = data.turns(1).await?;
    let [select, fetch, verify, count] = commands(seen)[..] else { panic!("{:?}", texts(seen)) };
    let whole = format!("1 00A40400 Le=256 [F04341524401] 6113 {SELECT_AND_FETCH} > 6113");
    assert_eq!(command_text(select), whole);
    assert!(command_text(fetch).starts_with("1+ 00C00000 Le=19 [] 9000 00C0000013 > 6F") && !fetch.is_masked);
    assert_eq!([verify, count].map(command_text), ["2 00200080 [] 9000 masked", "3 80100000 [] 9000 masked"]);
    Ok(())
}

#[test]
fn removal_insertion_and_denial_are_events_and_removal_empties_the_recorder() -> anyhow::Result<()> {
    let rules = "[[rule]]\nname = \"no sessions\"\nprincipals = [\"self\"]\nreaders = [\".*00\"]\ndeny = [\"session\"]";
    tell(async {
        let broker = Setup::simulated(1)?.configuration(rules).start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let client = broker.client().await?;
        unit(&client, READER, &[COUNT]).send().await?;
        let recorded = || TraceRequest { recorded_count: 256, ..TraceRequest::default() };
        let mut following = Following::begin(&broker, recorded()).await?;
        assert_eq!(texts(&following.events)[..2], ["reset, failed: false", "inserted"]);
        assert!(following.events.iter().all(|event| event.is_recorded) && following.events.len() >= 5);
        following.events.clear();
        assert!(client.open_session(READER).open().await.is_err());
        unit(&client, READER, &[&fault(2, 0, 100)]).send().await?;
        let inserted = |event: &TraceEvent| matches!(event.event, Some(Event::CardInserted(_)));
        let seen = texts(following.until(|events| events.iter().any(inserted)).await?);
        let position =
            |text: &str| seen.iter().position(|seen| seen == text).with_context(|| format!("{text}: {seen:?}"));
        assert_eq!(position("session denied by no sessions")?, 0);
        assert!(position("removed")? < position("inserted")?, "{seen:?}");
        let afterwards = Following::begin(&broker, recorded()).await?;
        let afterwards = texts(&afterwards.events);
        assert!(!afterwards.contains(&"session denied by no sessions".to_owned()), "{afterwards:?}");
        assert!(afterwards.contains(&"inserted".to_owned()), "{afterwards:?}");

        let kinds = vec![TraceEventKind::Denial.into()];
        let mut denials = Following::begin(&broker, TraceRequest { kinds, ..TraceRequest::default() }).await?;
        unit(&client, READER, &[COUNT]).send().await?;
        assert!(client.open_session(READER).open().await.is_err());
        let denials = texts(denials.until(|events| !events.is_empty()).await?);
        assert_eq!(denials, ["session denied by no sessions"]);
        Ok(())
    })
}

#[test]
fn the_trace_context_of_a_request_is_in_its_events() -> anyhow::Result<()> {
    tell(async {
        let broker = Setup::simulated(1)?.start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let kinds = vec![TraceEventKind::Turn.into(), TraceEventKind::Command.into()];
        let mut following = Following::begin(&broker, TraceRequest { kinds, ..TraceRequest::default() }).await?;
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for traceparent in [good, &good[..54]] {
            let mut call = Request::new(request(READER, &[COUNT]));
            call.metadata_mut().insert("traceparent", traceparent.parse()?);
            stub(&broker).await?.transmit(call).await?;
        }
        let seen = following.turns(2).await?;
        let contexts: Vec<_> = seen.iter().map(|event| &*event.traceparent).collect();
        assert_eq!(contexts, [good, good, good, "", "", ""]);
        Ok(())
    })
}

#[test]
fn a_trace_ends_with_the_broker() -> anyhow::Result<()> {
    tell(async {
        let mut broker = Setup::simulated(1)?.start()?;
        let mut following = Following::begin(&broker, TraceRequest::default()).await?;
        let ending = tokio::spawn(async move {
            loop {
                if let Err(error) = following.read().await {
                    return error;
                }
            }
        });
        broker.stop()?;
        let error = timeout(LONG, ending).await??;
        let status = error.downcast_ref::<tonic::Status>().context("no status")?;
        assert_eq!(status.code(), Code::Unavailable);
        Ok(())
    })
}
