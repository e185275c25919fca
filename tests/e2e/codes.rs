//! Each failure has, over the wire, the code of the contract's table, and a time for a retry only where nothing was
//! sent and waiting helps.

use std::time::Duration;

use anyhow::Context;
use cardbroker_client::{ReaderState, hex};
use cardbroker_proto::{
    codes,
    v1::{
        CardReset, Command, ControlCommand, Delivery, ErrorReason, Failure, TransmitRequest, TransmitResponse,
        TurnOptions, command::Action,
    },
};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::{
    conversation::milliseconds,
    wire::{failure, request, stub, told, transmit, waiting_for},
    world::{COUNT, INCREMENT, SELECT, Stage, VERIFY, fault, over_both_backends, slow, wait_for},
};

over_both_backends! { T1, "limits = { max_waiting_per_caller = 1, max_outcomes_per_user = 1 }
        rule = [{ name = 'no PIN', principals = ['self'], deny = ['transmit'], commands = [{ instruction = '21' }] }]":
    unsent_commands_have_the_code_of_their_reason,
    commands_that_may_have_run_fail_without_retry_info,
    a_stop_has_the_same_code_as_a_status,
}

mod strict_t0 {
    use super::*;
    over_both_backends! { T0: a_command_too_long_for_t0_is_an_invalid_request }
    async fn a_command_too_long_for_t0_is_an_invalid_request(stage: Stage) -> anyhow::Result<()> {
        let too_long = format!("80140000000100{}", "55".repeat(256));
        let status = refused(&stage, request(stage.reader, &[&too_long])).await?;
        assert_eq!(checked(&status)?, (ErrorReason::UnsupportedLength, Delivery::NotSent));
        Ok(())
    }
}

/// Reason and delivery of a status; all places that repeat them must agree with the table.
fn checked(status: &Status) -> anyhow::Result<(ErrorReason, Delivery)> {
    told(status);
    let failure = failure(status).context("no failure")?;
    let (reason, delivery) = agreed(&failure)?;
    assert_eq!(status.code(), codes::code(reason, delivery), "{failure:?}");
    let retry = status.get_details_retry_info().and_then(|info| info.retry_delay);
    assert_eq!(retry, codes::retry_after(reason, delivery), "{failure:?}");
    Ok((reason, delivery))
}

/// Reason and delivery of a failure that must agree with the table.
fn agreed(failure: &Failure) -> anyhow::Result<(ErrorReason, Delivery)> {
    let (reason, delivery) = (failure.reason(), failure.delivery());
    assert_eq!(Code::from_i32(failure.code), codes::code(reason, delivery), "{failure:?}");
    let retry = failure.retry_after.map(Duration::try_from).transpose()?;
    assert_eq!(retry, codes::retry_after(reason, delivery), "{failure:?}");
    assert!(delivery == Delivery::NotSent || retry.is_none() && failure.code == Code::DataLoss as i32, "{failure:?}");
    assert!((1..=512).contains(&failure.message.len()) && !failure.message.contains('\n'), "{failure:?}");
    Ok((reason, delivery))
}

async fn refused(stage: &Stage, request: TransmitRequest) -> anyhow::Result<Status> {
    transmit(&mut stub(&stage.broker).await?, request).await.err().context("it was answered")
}

async fn run(stage: &Stage, request: TransmitRequest) -> anyhow::Result<TransmitResponse> {
    Ok(transmit(&mut stub(&stage.broker).await?, request).await?)
}

async fn unsent_commands_have_the_code_of_their_reason(stage: Stage) -> anyhow::Result<()> {
    let unit = || request(stage.reader, &[COUNT]);
    let on = |turn| TransmitRequest { turn: Some(turn), ..unit() };
    let under = |id: u8, request| TransmitRequest { request_id: vec![id; 16], ..request };
    run(&stage, under(1, unit())).await?;
    stage.unit(&["00200080083939393939393939"]).send().await?;
    let control = Command { action: Some(Action::Control(ControlCommand::default())), ..Command::default() };
    let insertion = TurnOptions { if_insertion_id: "another".into(), ..TurnOptions::default() };
    let state = TurnOptions { if_state_tag: "another".into(), ..TurnOptions::default() };
    for (request, expected) in [
        (request(stage.reader, &[]), ErrorReason::InvalidRequest),
        (request("readers/nowhere", &[COUNT]), ErrorReason::ReaderNotFound),
        (TransmitRequest { commands: vec![control], ..unit() }, ErrorReason::NotImplemented),
        (request(stage.reader, &["0021008000"]), ErrorReason::Denied),
        (request(stage.reader, &["00200080083939393939393939"]), ErrorReason::PinKnownWrong),
        (on(insertion), ErrorReason::InsertionChanged),
        (on(state), ErrorReason::StateChanged),
        (under(1, request(stage.reader, &[INCREMENT])), ErrorReason::RequestIdReused),
        (under(2, unit()), ErrorReason::OutcomesFull),
    ] {
        assert_eq!(checked(&refused(&stage, request).await?)?, (expected, Delivery::NotSent));
    }

    let busy = stage.keep_busy(3000).await?;
    let now = TransmitRequest { turn: waiting_for(milliseconds(0)), ..unit() };
    assert_eq!(checked(&refused(&stage, now).await?)?, (ErrorReason::QueueTimeout, Delivery::NotSent));
    let waiting = crate::world::arrived(&stage.client, stage.unit(&[COUNT])).await?;
    assert_eq!(checked(&refused(&stage, unit()).await?)?, (ErrorReason::QueueFull, Delivery::NotSent));
    busy.await??;
    waiting.await?;

    stage.run(&[&fault(4, 200, 0)]).await?;
    let reset = TurnOptions { reset_before: CardReset::Warm.into(), ..TurnOptions::default() };
    assert_eq!(checked(&refused(&stage, on(reset)).await?)?, (ErrorReason::ResetFailed, Delivery::NotSent));
    wait_for(&stage.broker, stage.reader, ReaderState::Mute).await?;
    assert_eq!(checked(&refused(&stage, unit()).await?)?, (ErrorReason::CardMute, Delivery::NotSent));
    Ok(())
}

async fn commands_that_may_have_run_fail_without_retry_info(stage: Stage) -> anyhow::Result<()> {
    let lost = refused(&stage, request(stage.reader, &[&fault(6, 0, 0)])).await?;
    assert_eq!(checked(&lost)?, (ErrorReason::CardLost, Delivery::Unknown));
    wait_for(&stage.broker, stage.reader, ReaderState::Ready).await?;

    let mut late = Request::new(request(stage.reader, &[&slow(2500)]));
    late.set_timeout(Duration::from_secs(1));
    let late = stub(&stage.broker).await?.transmit(late).await.err().context("it was answered")?;
    assert_eq!(checked(&late)?, (ErrorReason::DeadlineNear, Delivery::Unknown));
    stage.unit(&[COUNT]).send().await?;

    let gone = refused(&stage, request(stage.reader, &[&fault(1, 50, 0xFFFF)])).await?;
    assert_eq!(checked(&gone)?, (ErrorReason::CardRemoved, Delivery::Unknown));
    wait_for(&stage.broker, stage.reader, ReaderState::Empty).await?;
    let empty = refused(&stage, request(stage.reader, &[COUNT])).await?;
    assert_eq!(checked(&empty)?, (ErrorReason::NoCard, Delivery::NotSent));
    Ok(())
}

async fn a_stop_has_the_same_code_as_a_status(stage: Stage) -> anyhow::Result<()> {
    let long = format!("80140000007530{}0000", "55".repeat(30_000));
    let much = [&[&*long; 34][..], &[COUNT]].concat();
    for (apdus, expected) in [
        (&["00B2010505", SELECT][..], (ErrorReason::StatusWord, Delivery::NotSent)),
        (&["801A000000"], (ErrorReason::ResponseLost, Delivery::Executed)),
        (&[COUNT, &fault(6, 0, 0), VERIFY], (ErrorReason::CardLost, Delivery::Unknown)),
        (&much, (ErrorReason::ResponseTooLarge, Delivery::NotSent)),
    ] {
        let apdus: Vec<_> = apdus.iter().map(|apdu| hex::parse(apdu).unwrap().to_vec()).collect();
        let commands = apdus.into_iter().map(crate::wire::command).collect();
        let request = TransmitRequest { commands, ..request(stage.reader, &[]) };
        let stopped = run(&stage, request).await?.stopped.context("it has not stopped")?;
        assert_eq!(agreed(&stopped.failure.context("no failure")?)?, expected);
        wait_for(&stage.broker, stage.reader, ReaderState::Ready).await?;
    }
    Ok(())
}
