//! The trace: what operators see of turns and commands, and what nobody sees. The log shows the same.

use std::time::Duration;

use anyhow::{Context, ensure};
use cardbroker_client::{ReaderState, hex};
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_proto::{
    diagnostics::v1::{
        CommandEvent, GetStatusRequest, TraceEvent, TraceEventKind, TraceLevel, TraceRequest, TraceResponse,
        diagnostics_service_client::DiagnosticsServiceClient, trace_event::Event,
    },
    reason::REASON_TRAILER,
};
use cardbroker_tests::harness::broker::{Broker, Setup};
use tokio::time::timeout;
use tonic::{Code, Request, Streaming, transport::Channel};

use crate::{
    wire::{diagnostics, request, stub, transport},
    world::{
        COUNT, LONG, PcscWorld, READER as PCSC_READER, SELECT_AND_FETCH, Stage, VERIFY, fault, over_both_backends,
        tell, unit, wait_for,
    },
};

const READER: &str = "readers/simulated-reader-00";

/// How long nothing happens at the end of a trace.
const SILENCE: Duration = Duration::from_secs(2);

/// A trace that runs, and what it has shown so far.
struct Following {
    stream: Streaming<TraceResponse>,
    events: Vec<TraceEvent>,
    missed: i64,
}

impl Following {
    /// Begins a trace. Its first message has arrived.
    async fn begin(broker: &Broker, request: TraceRequest) -> anyhow::Result<Self> {
        Self::of(diagnostics(broker).await?, request).await
    }

    async fn of(mut stub: DiagnosticsServiceClient<Channel>, request: TraceRequest) -> anyhow::Result<Self> {
        let stream = stub.trace(request).await?.into_inner();
        let mut following = Self { stream, events: Vec::new(), missed: 0 };
        following.read().await?;
        Ok(following)
    }

    async fn data(broker: &Broker) -> anyhow::Result<Self> {
        Self::begin(broker, TraceRequest { level: TraceLevel::Data.into(), ..TraceRequest::default() }).await
    }

    /// Reads one message; its events have no gap between them but the counted one before the first.
    async fn read(&mut self) -> anyhow::Result<()> {
        let TraceResponse { events, missed_count, epoch } = self.stream.message().await?.context("the trace ended")?;
        ensure!(epoch.len() == 16, "{epoch}");
        self.missed += missed_count;
        self.events.extend(events);
        Ok(())
    }

    /// Reads until the events fit.
    async fn until(&mut self, wished: impl Fn(&[TraceEvent]) -> bool) -> anyhow::Result<&[TraceEvent]> {
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
    async fn turns(&mut self, count: usize) -> anyhow::Result<&[TraceEvent]> {
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

fn texts(events: &[TraceEvent]) -> Vec<String> {
    events.iter().map(text).collect()
}

fn commands(events: &[TraceEvent]) -> Vec<&CommandEvent> {
    let commands = events.iter().filter_map(|event| match &event.event {
        Some(Event::Command(command)) => Some(command),
        _ => None,
    });
    commands.collect()
}

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

/// The lines of the trace in the broker's log since the line `from`, without times and ids.
fn logged(broker: &Broker, from: usize) -> Vec<String> {
    let log = broker.settled_log();
    let lines = log.lines().skip(from).filter(|line| line.contains("cardbroker::apdu"));
    let is_time = |word: &str| {
        ["number=", "lease=", "took_us=", "waited_ms=", "held_ms="].iter().any(|key| word.starts_with(key))
    };
    let texts =
        lines.map(|line| line.split_whitespace().skip(1).filter(|word| !is_time(word)).collect::<Vec<_>>().join(" "));
    texts.collect()
}

/// What traces and the log show of a program that selects and verifies twice.
type Shown = (Vec<String>, Vec<String>, Vec<String>);

async fn shown(broker: &Broker, reader: &str, pins: [&str; 2]) -> anyhow::Result<Shown> {
    let begin = broker.settled_log().lines().count();
    let mut headers = Following::begin(broker, TraceRequest::default()).await?;
    let mut data = Following::data(broker).await?;
    let client = broker.client().await?;
    for pin in pins {
        let verify = format!("00200080{:02X}{}", pin.len(), hex::format(pin.as_bytes()));
        // The card may refuse the PIN, which is shown.
        drop(unit(&client, reader, &[SELECT_AND_FETCH, &verify]).send().await);
    }
    let (headers, data) = (headers.turns(2).await?, data.turns(2).await?);
    for command in commands(headers).iter().chain(&commands(data)).filter(|command| command.header[1] == 0x20) {
        let duration = command.duration.context("no duration")?;
        assert!(duration.nanos % 50_000_000 == 0 && (duration.seconds, duration.nanos) > (0, 0), "{duration:?}");
    }
    Ok((texts(headers), texts(data), logged(broker, begin)))
}

fn assert_all_same(seen: &[Shown], told: [&str; 2], in_log: &str) {
    let (headers, data, log) = &seen[0];
    assert!(headers.contains(&told[0].to_owned()), "{headers:#?}");
    assert!(data.contains(&told[1].to_owned()), "{data:#?}");
    assert!(log.iter().any(|line| line.contains("header=\"00200080\"") && line.contains(in_log)), "{log:#?}");
    for other in &seen[1..] {
        assert_eq!(*other, seen[0]);
    }
}

#[test]
fn the_length_of_a_pin_is_nowhere_with_real_readers() -> anyhow::Result<()> {
    tell(async {
        let mut seen = Vec::new();
        for [wrong, pin] in
            [["7305", "1946"], ["730518", "194627"], ["73051846", "19462735"], ["730518469027", "194627358041"]]
        {
            let options = CardOptions { pin: pin.as_bytes(), ..CardOptions::default() };
            let world = PcscWorld::new("log.apdus = true", options).await?;
            seen.push(shown(&world.broker, PCSC_READER, [wrong, pin]).await?);
        }
        assert_all_same(&seen, ["2 00200080 [] 63Cx masked", "2 00200080 [] 63C2 masked"], "63Cx");
        Ok(())
    })
}

#[test]
fn the_length_of_a_pin_is_nowhere_with_simulated_readers() -> anyhow::Result<()> {
    tell(async {
        let broker = Setup::simulated(1)?.configuration("log.apdus = true").start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let mut seen = Vec::new();
        // The card has a PIN of eight digits, and says so by its status word. That is not shown.
        for pins in
            [["7305", "1946"], ["730518", "194627"], ["7305184690", "1946273580"], ["730518469027", "194627358041"]]
        {
            seen.push(shown(&broker, READER, pins).await?);
        }
        assert_all_same(&seen, ["2 00200080 [] error masked"; 2], "error");
        Ok(())
    })
}

over_both_backends! { T1: a_turn_is_traced_from_its_beginning_to_its_end }

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
fn the_gaps_of_a_slow_client_are_exact() -> anyhow::Result<()> {
    tell(async {
        let broker = Setup::simulated(1)?.start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let client = broker.client().await?;
        // A small window, so that little waits in the client.
        let channel = transport(&broker)?.initial_stream_window_size(65_535).initial_connection_window_size(65_535);
        let stub = DiagnosticsServiceClient::new(channel.connect().await?);
        let mut slow = Following::of(stub, TraceRequest::default()).await?;
        let many = vec![COUNT; 64];
        for _ in 0..300 {
            unit(&client, READER, &many).send().await?;
        }
        // The number of the next event, if it is known, and the number of all that were missed.
        let (mut next, mut total) = (None, 0);
        let mut read = async |slow: &mut Following| {
            while let Ok(read) = timeout(SILENCE, slow.read()).await {
                read?;
                let missed = std::mem::take(&mut slow.missed);
                total += missed;
                next = next.map(|next: i64| next + missed);
                for event in slow.events.drain(..) {
                    assert_eq!(event.number, next.unwrap_or(event.number));
                    next = Some(event.number + 1);
                }
            }
            anyhow::Ok((next.context("no event")?, total))
        };
        let (end, missed) = read(&mut slow).await?;
        assert!(missed > 1_000, "{missed} of 19,800 events do not fit");
        unit(&client, READER, &[COUNT]).send().await?;
        let more = "a unit of one command has three events";
        assert_eq!(read(&mut slow).await?, (end + 3, missed), "{more}");
        Ok(())
    })
}

#[test]
fn a_trace_needs_its_permissions_and_a_place() -> anyhow::Result<()> {
    let rule = |name: &str, reader: &str, deny: &str| {
        format!("[[rule]]\nname = '{name}'\nprincipals = ['self']\nreaders = ['.*-{reader}']\ndeny = ['{deny}']\n")
    };
    let rules = rule("no data", "01", "trace_data") + &rule("not this", "02", "trace");
    tell(async {
        let mut broker = Setup::simulated(3)?.configuration(&rules).start()?;
        let readers = ["readers/simulated-reader-00", "readers/simulated-reader-01", "readers/simulated-reader-02"];
        for reader in readers {
            wait_for(&broker, reader, ReaderState::Ready).await?;
        }
        let refused = async |readers: &[&str], level: TraceLevel| {
            let readers = readers.iter().map(ToString::to_string).collect();
            let request = TraceRequest { readers, level: level.into(), ..TraceRequest::default() };
            let refused = diagnostics(&broker).await?.trace(request).await.err();
            let refused = refused.map(|status| {
                let reason = status.metadata().get(REASON_TRAILER).and_then(|reason| reason.to_str().ok());
                (status.code(), reason.unwrap_or_default().to_owned())
            });
            anyhow::Ok(refused)
        };
        let [headers, data] = [TraceLevel::Headers, TraceLevel::Data];
        assert_eq!(refused(&readers[..2], headers).await?, None);
        assert_eq!(refused(&readers[..1], data).await?, None);
        assert_eq!(refused(&readers[1..2], data).await?, Some((Code::PermissionDenied, "DENIED".into())));
        let missing = Some((Code::NotFound, "READER_NOT_FOUND".into()));
        assert_eq!(refused(&readers, headers).await?, missing);
        assert_eq!(refused(&["readers/none"], headers).await?, missing);
        assert_eq!(refused(&["none"], headers).await?, Some((Code::InvalidArgument, "INVALID_REQUEST".into())));

        // Without names, the trace leaves out what its operator may not see.
        let mut all = Following::data(&broker).await?;
        let client = broker.client().await?;
        for reader in [readers[2], readers[1], readers[0]] {
            unit(&client, reader, &[COUNT]).send().await?;
        }
        let seen = all.turns(1).await?;
        assert!(seen.iter().all(|event| event.reader == readers[0]), "{seen:#?}");

        let status = diagnostics(&broker).await?.get_status(GetStatusRequest::default()).await?.into_inner();
        let tracers = status.status.context("no status")?.readers.into_iter().map(|reader| reader.tracers);
        let tracers: Vec<Vec<_>> =
            tracers.map(|tracers| tracers.iter().map(|tracer| tracer.shows_data).collect::<Vec<_>>()).collect();
        assert_eq!(tracers, [vec![true], vec![], vec![]]);

        let mut more = Vec::new();
        for _ in 0..7 {
            more.push(Following::begin(&broker, TraceRequest::default()).await?);
        }
        let full = Some((Code::ResourceExhausted, "QUEUE_FULL".into()));
        assert_eq!(refused(&[], headers).await?, full);
        drop((all, more));
        let free = async {
            while refused(&[], headers).await? == full {}
            anyhow::Ok(())
        };
        timeout(LONG, free).await.context("places stay taken")??;
        broker.stop()?;
        let log = broker.log();
        for event in ["data_trace_began", "data_trace_ended"] {
            assert_eq!(log.lines().filter(|line| line.contains(event)).count(), 2, "{event}");
        }
        assert!(log.contains("readers=\"simulated-reader-00\"") && log.contains("readers=\"all\""), "{log}");
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
