//! An operator ends the turn of another caller.

use anyhow::{Context, ensure};
use cardbroker_client::hex;
use cardbroker_proto::{
    diagnostics::v1::{Holder, IncidentKind, ReleaseOutcome, ReleaseRequest},
    v1::ErrorReason,
};
use tonic::Code;

use crate::{
    status::{Operator, at, reason, soon},
    wire::diagnostics,
    world::{COUNT, INCREMENT, PROTECTED, SELECT, Stage, VERIFY, over_both_backends, slow, told, unit},
};

over_both_backends! { T1:
    a_released_session_ends_between_two_commands,
    a_released_unit_answers_with_its_results,
}

/// Ends the turn of the holder that is shown.
async fn release(operator: &mut Operator, reader: &str, holder: &Holder) -> anyhow::Result<ReleaseOutcome> {
    let request = ReleaseRequest { reader: reader.into(), lease: holder.lease.clone(), reason: "3 a.m.".into() };
    Ok(operator.release(request).await?.into_inner().outcome())
}

async fn a_released_session_ends_between_two_commands(stage: Stage) -> anyhow::Result<()> {
    let mut operator = diagnostics(&stage.broker).await?;
    let session = stage.client.open_session(stage.reader).open().await?;
    session.transmit([hex::parse(COUNT)?]).send().await?;
    let holder = at(&mut operator, stage.reader).await?.holder.context("no holder")?;
    let stale = Holder { lease: format!("{}f", holder.lease), ..holder.clone() };
    let refused = release(&mut operator, stage.reader, &stale).await.unwrap_err();
    let refused = refused.downcast::<tonic::Status>()?;
    assert_eq!((refused.code(), reason(&refused)), (Code::Aborted, Some(ErrorReason::LeaseEnded)));
    assert_eq!(release(&mut operator, stage.reader, &holder).await?, ReleaseOutcome::Released);
    let failed = session.transmit([hex::parse(COUNT)?]).send().await.unwrap_err();
    assert_eq!(told(&failed), "LEASE_REVOKED not_sent");
    let found = soon(&mut operator, stage.reader, |found| found.holder.is_none()).await?;
    let incident = &found.incidents[0];
    assert_eq!(incident.kind(), IncidentKind::TurnFailed);
    let released = &found.incidents[1];
    assert_eq!(released.kind(), IncidentKind::Released);
    assert!(released.message.starts_with("released by process ") && released.message.ends_with(": 3 a.m."));
    assert_eq!(found.counters.context("no counters")?.release_count, 1);
    // A second release finds nobody.
    assert!(release(&mut operator, stage.reader, &holder).await.is_err());
    Ok(())
}

async fn a_released_unit_answers_with_its_results(stage: Stage) -> anyhow::Result<()> {
    let mut operator = diagnostics(&stage.broker).await?;
    let slow = slow(300);
    let running = tokio::spawn(stage.unit(&[INCREMENT, VERIFY, &slow, &slow, &slow]).send());
    let found = soon(&mut operator, stage.reader, |found| {
        found.holder.as_ref().is_some_and(|holder| holder.done_command_count >= 2)
    });
    let found = found.await?;
    let outcome = release(&mut operator, stage.reader, &found.holder.context("no holder")?).await?;
    let waiting = stage.broker.client().await?;
    let next = tokio::spawn(unit(&waiting, stage.reader, &[COUNT]).send());
    let told = told(&running.await?.unwrap_err());
    ensure!(told.starts_with("LEASE_REVOKED not_sent at "), "{told}");
    ensure!(outcome == ReleaseOutcome::Pending || told.ends_with("after 2 answers"), "{outcome:?}: {told}");
    next.await??;
    // The verified PIN is gone, even for the released program's own group.
    let answers = stage.run(&[SELECT, PROTECTED]).await?;
    ensure!(answers[1] == "6982", "{answers:?}");
    Ok(())
}
