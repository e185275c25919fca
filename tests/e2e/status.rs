//! An operator's view over `DiagnosticsService`: who holds a card, who waits, what went wrong.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use cardbroker_client::ReaderState;
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_proto::{
    diagnostics::v1::{
        CommandClass, CommandEnd, GetStatusRequest, Holder, IncidentKind, PcscState, ReaderStatus, ReleaseOutcome,
        ReleaseRequest, Status, WatchStatusRequest, diagnostics_service_client::DiagnosticsServiceClient,
    },
    v1::ErrorReason,
};
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{broker::Setup, pcscd::Pcscd, programs::Program},
};
use tokio::time::{sleep, timeout};
use tonic::{Code, transport::Channel};

use crate::{
    wire::{diagnostics, failure},
    world::{
        COUNT, INCREMENT, LONG, PROTECTED, READER, SELECT, Stage, arrived, over_both_backends, slow, tell, unit,
        wait_for,
    },
};

over_both_backends! { T1:
    the_holder_is_named_with_what_it_does,
    waiters_are_shown_in_the_order_of_their_turns,
    the_counters_equal_what_the_units_did,
}

pub(crate) type Operator = DiagnosticsServiceClient<Channel>;

/// The status of the whole broker.
pub(crate) async fn status(operator: &mut Operator) -> anyhow::Result<Status> {
    let response = operator.get_status(GetStatusRequest::default()).await?.into_inner();
    response.status.context("no status")
}

/// The status of one reader.
pub(crate) async fn at(operator: &mut Operator, reader: &str) -> anyhow::Result<ReaderStatus> {
    let request = GetStatusRequest { reader: reader.into() };
    let status = operator.get_status(request).await?.into_inner().status.context("no status")?;
    ensure!(status.broker.is_none() && status.readers.len() == 1, "{status:?}");
    status.readers.into_iter().next().context("no reader")
}

/// The first status of a reader that fits `wished`. Fails if none does within a second.
pub(crate) async fn soon(
    operator: &mut Operator,
    reader: &str,
    wished: impl Fn(&ReaderStatus) -> bool,
) -> anyhow::Result<ReaderStatus> {
    let deadline = Instant::now() + Duration::from_secs(1);
    loop {
        let found = at(operator, reader).await?;
        if wished(&found) {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "not within a second: {found:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// The reason of a failed call.
pub(crate) fn reason(status: &tonic::Status) -> Option<ErrorReason> {
    failure(status).map(|failure| failure.reason())
}

/// Another process with a session on the stage's reader.
pub(crate) fn session_holder(stage: &Stage) -> anyhow::Result<Program> {
    let mut holder = session_waiter(stage)?;
    assert_eq!(holder.line()?, "holding");
    Ok(holder)
}

fn last_command(holder: &Holder) -> Option<(CommandClass, CommandEnd)> {
    holder.last_command.as_ref().map(|last| (last.command_class(), last.end()))
}

async fn the_holder_is_named_with_what_it_does(stage: Stage) -> anyhow::Result<()> {
    let mut operator = diagnostics(&stage.broker).await?;
    assert!(at(&mut operator, stage.reader).await?.holder.is_none());
    let program = session_holder(&stage)?;
    let found = soon(&mut operator, stage.reader, |found| {
        found.holder.as_ref().is_some_and(|holder| holder.idle_time.is_some())
    });
    let holder = found.await?.holder.context("no holder")?;
    let caller = holder.caller.as_ref().context("no caller")?;
    assert!(holder.is_session && !holder.lease.is_empty() && !holder.is_released);
    assert_eq!(caller.process_id, i32::try_from(program.id()).ok());
    assert_eq!(caller.program, "session-holder");
    assert!(!caller.via_sshd && caller.group > 0 && !caller.principal.is_empty(), "{caller:?}");
    assert_eq!((holder.done_command_count, last_command(&holder)), (1, Some((CommandClass::Other, CommandEnd::Well))));
    drop(program);

    let busy = stage.client.clone();
    let reader = stage.reader;
    let running = tokio::spawn(async move { unit(&busy, reader, &[SELECT, &slow(600), PROTECTED]).send().await });
    let found = soon(&mut operator, stage.reader, |found| {
        found.holder.as_ref().is_some_and(|holder| !holder.is_session && holder.command_count == 3)
    });
    let found = found.await?;
    assert!(found.driver_call.is_some() || found.holder.as_ref().unwrap().idle_time.is_none(), "{found:?}");
    running.await??;
    soon(&mut operator, stage.reader, |found| found.holder.is_none()).await?;
    Ok(())
}

async fn waiters_are_shown_in_the_order_of_their_turns(stage: Stage) -> anyhow::Result<()> {
    let mut operator = diagnostics(&stage.broker).await?;
    let holder = session_holder(&stage)?;
    let (first, second) = (stage.broker.client().await?, stage.broker.client().await?);
    let ask = |client| arrived(client, unit(client, stage.reader, &[COUNT]).wait_timeout(Duration::from_secs(3600)));
    let waiting = (ask(&first).await?, ask(&second).await?);
    let session = session_waiter(&stage)?;
    let found = soon(&mut operator, stage.reader, |found| found.waiter_count == 3).await?;
    let callers: Vec<_> =
        found.waiters.iter().map(|waiter| waiter.caller.as_ref().map(|caller| caller.connection)).collect();
    assert_eq!(found.waiters.len(), 3);
    assert!(callers.iter().all(Option::is_some), "{callers:?}");
    assert_eq!(found.waiters.iter().filter(|waiter| waiter.is_session).count(), 1);
    let now = status(&mut operator).await?.now.context("no moment")?;
    for waiter in &found.waiters {
        let (arrived, deadline) = (waiter.arrive_time.unwrap(), waiter.deadline_time.unwrap());
        assert!(arrived.seconds <= now.seconds && deadline.seconds > now.seconds + 20, "{waiter:?}");
    }
    drop((holder, session));
    let (first, second) = waiting;
    first.await?;
    second.await?;
    soon(&mut operator, stage.reader, |found| found.waiter_count == 0 && found.holder.is_none()).await?;
    Ok(())
}

/// Another process that waits for a session.
pub(crate) fn session_waiter(stage: &Stage) -> anyhow::Result<Program> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_session-holder"));
    Program::spawn(command.arg(stage.broker.socket()).args([stage.reader, COUNT]))
}

async fn the_counters_equal_what_the_units_did(stage: Stage) -> anyhow::Result<()> {
    let mut operator = diagnostics(&stage.broker).await?;
    let before = at(&mut operator, stage.reader).await?.counters.context("no counters")?;
    for number in 0..1_000 {
        let commands: &[&str] = if number % 2 == 0 { &[COUNT] } else { &[COUNT, COUNT] };
        stage.unit(commands).send().await?;
    }
    let after = at(&mut operator, stage.reader).await?.counters.context("no counters")?;
    assert_eq!(after.unit_count - before.unit_count, 1_000);
    assert_eq!(after.command_count - before.command_count, 1_500);
    assert_eq!((after.failed_command_count, after.session_count), (0, 0));
    assert_eq!((after.denied_count, after.not_served_count, after.release_count), (0, 0, 0));
    assert_eq!(after.insertion_count, 1);
    assert!(after.card_time != before.card_time && after.wait_time.is_some(), "{after:?}");
    Ok(())
}

#[test]
fn a_hanging_driver_is_shown_with_its_age() -> anyhow::Result<()> {
    tell(async {
        let pcscd = Pcscd::start(2)?;
        let card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
        let rule = "[[reader]]\nmatch = \".*\"\nexchange_timeout = \"1s\"\n";
        let broker = Setup::on(&pcscd)?.configuration(rule).start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let (client, mut operator) = (broker.client().await?, diagnostics(&broker).await?);
        card.hang_next(Duration::from_secs(4));
        let asked = tokio::spawn(unit(&client, READER, &[INCREMENT]).send());
        let found = soon(&mut operator, READER, |found| found.driver_call.is_some()).await?;
        assert!(!found.driver_call.unwrap().is_overdue);
        let holder = found.holder.context("no holder")?;
        assert_eq!(last_command(&holder), Some((CommandClass::Other, CommandEnd::Unspecified)));
        let request = ReleaseRequest { reader: READER.into(), lease: holder.lease, ..ReleaseRequest::default() };
        let released = operator.release(request).await?.into_inner();
        assert_eq!(released.outcome(), ReleaseOutcome::Pending);
        assert!(released.driver_call.is_some_and(|call| call.begin_time.is_some()));
        assert!(asked.await?.is_err());
        let found = soon(&mut operator, READER, |found| found.driver_call.is_some_and(|call| call.is_overdue)).await?;
        assert_eq!(found.incidents[0].kind(), IncidentKind::Reader);
        assert!(found.incidents.iter().any(|incident| incident.kind() == IncidentKind::Driver));
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let found = at(&mut operator, READER).await?;
        assert!(found.driver_call.is_none() && found.holder.is_none(), "{found:?}");
        Ok(())
    })
}

#[test]
fn a_killed_holder_is_gone_within_a_second() -> anyhow::Result<()> {
    tell(async {
        let stage = Stage::pcsc(cardbroker_core::slot::Protocol::T1).await?;
        let mut operator = diagnostics(&stage.broker).await?;
        let program = session_holder(&stage)?;
        soon(&mut operator, stage.reader, |found| found.holder.is_some()).await?;
        // Kills it.
        drop(program);
        soon(&mut operator, stage.reader, |found| found.holder.is_none()).await?;
        Ok(())
    })
}

#[test]
fn the_broker_itself_is_described() -> anyhow::Result<()> {
    tell(async {
        let setup = Setup::simulated(1)?.tcp(&["ci"])?.configuration("[limits]\nmax_waiting_per_caller = 5\n");
        let broker = setup.start()?;
        let mut operator = diagnostics(&broker).await?;
        let shown = status(&mut operator).await?.broker.context("no broker")?;
        assert_eq!(shown.version, env!("CARGO_PKG_VERSION"));
        assert_eq!(shown.process_id, broker.pid()?.as_raw_pid());
        assert!(shown.config_file.ends_with(".toml") && shown.config_digest.len() == 64, "{shown:?}");
        assert_eq!(shown.pcsc.as_ref().map(|pcsc| pcsc.state()), Some(PcscState::Simulated));
        let addresses: Vec<_> = shown.listeners.iter().map(|listener| listener.address.clone()).collect();
        assert_eq!(addresses, [format!("unix:{}", broker.socket().display()), broker.tcp_endpoint()?]);
        assert_eq!((shown.listeners[0].connection_count, shown.connections[0].count), (1, 1));
        assert!(shown.last_reload.is_none() && shown.log_filter_revert_time.is_none());

        broker.signal(rustix::process::Signal::HUP)?;
        let deadline = Instant::now() + LONG;
        let reload = loop {
            if let Some(reload) = status(&mut operator).await?.broker.context("no broker")?.last_reload {
                break reload;
            }
            ensure!(Instant::now() < deadline, "no reload is shown");
            sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(reload.problem, "");
        Ok(())
    })
}

#[test]
fn a_watch_shows_changes_and_ends_with_the_broker() -> anyhow::Result<()> {
    tell(async {
        let mut stage = Stage::simulated(cardbroker_core::slot::Protocol::T1).await?;
        let mut operator = diagnostics(&stage.broker).await?;
        let interval = Some(prost_types::Duration { seconds: 0, nanos: 250_000_000 });
        let request = WatchStatusRequest { reader: stage.reader.into(), interval };
        let mut watch = operator.watch_status(request.clone()).await?.into_inner();
        let first = timeout(LONG, watch.message()).await??.and_then(|message| message.status).context("no status")?;
        assert!(first.broker.is_none() && first.readers.len() == 1);
        let program = session_holder(&stage)?;
        let holds = |status: &Status| status.readers.iter().any(|reader| reader.holder.is_some());
        let seen = async {
            while let Some(message) = watch.message().await? {
                if message.status.is_some_and(|status| holds(&status)) {
                    return anyhow::Ok(());
                }
            }
            bail!("the watch has ended")
        };
        timeout(Duration::from_secs(1), seen).await.context("not within a second")??;
        drop(program);
        for nanos in [1, 249_999_999] {
            let interval = Some(prost_types::Duration { seconds: 0, nanos });
            let refused = operator.watch_status(WatchStatusRequest { interval, ..request.clone() }).await;
            assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
        }
        stage.broker.stop()?;
        let ended = async {
            loop {
                if let Err(status) = watch.message().await {
                    return status;
                }
            }
        };
        let ended = timeout(LONG, ended).await?;
        assert_eq!(reason(&ended), Some(ErrorReason::ShuttingDown));
        Ok(())
    })
}
