//! Programs behind one `ssh -L`: the broker sees sshd, and takes each connection for a caller of its own.

use anyhow::Context;
use cardbroker_client::{Client, Endpoint};
use cardbroker_core::slot::Protocol;
use cardbroker_proto::diagnostics::v1::{
    IncidentKind, ReleaseOutcome, ReleaseRequest, diagnostics_service_client::DiagnosticsServiceClient,
};
use cardbroker_tests::harness::{
    run::{cardbroker, run},
    sshd::Forward,
};

use crate::{
    status::at,
    wire::{diagnostics, transport_to},
    world::{PROTECTED, Stage, VERIFY, answers, tell, unit},
};

#[test]
fn programs_behind_one_ssh_forward_share_no_verified_pin() -> anyhow::Result<()> {
    tell(async {
        let stage = Stage::simulated(Protocol::T1).await?;
        let forward = Forward::start(&stage.broker.socket())?;
        let client = async || Client::connect(Endpoint::Unix(forward.socket())).await;
        let (first, second) = (client().await?, client().await?);
        let (one, other) = (first.broker().await?.caller, second.broker().await?.caller);
        assert_eq!(one.process_id, other.process_id, "one sshd");
        assert!(one.process_id.is_some() && one.is_connection && other.is_connection, "{one:?} {other:?}");

        let own = unit(&first, stage.reader, &[VERIFY, PROTECTED]).send().await?;
        assert!(answers(&own)[1].ends_with("9000"), "{own:?}");
        let refused = unit(&second, stage.reader, &[PROTECTED]).send().await?;
        assert_eq!((answers(&refused), refused.was_reset), (vec!["6982".into()], true));
        assert_eq!(answers(&unit(&first, stage.reader, &[PROTECTED]).send().await?), ["6982"]);

        let seen = run(&mut cardbroker(&format!("unix:{}", forward.socket().display()), &["broker"])?)?;
        assert!(seen.out.contains(", with turns and a group of its own\n"), "{seen:?}");
        assert!(stage.broker.settled_log().contains("executable=\"/usr/"), "the log names sshd");
        Ok(())
    })
}

#[test]
fn an_operator_behind_ssh_sees_the_same_and_is_named() -> anyhow::Result<()> {
    tell(async {
        let stage = Stage::simulated(Protocol::T1).await?;
        let forward = Forward::start(&stage.broker.socket())?;
        let session = stage.client.open_session(stage.reader).open().await?;
        let remote = transport_to(&forward.socket())?.connect().await?;
        let (mut here, mut there) = (diagnostics(&stage.broker).await?, DiagnosticsServiceClient::new(remote));
        let holder = at(&mut here, stage.reader).await?.holder.context("no holder")?;
        assert_eq!(at(&mut there, stage.reader).await?.holder, Some(holder.clone()));
        let reason = "found at 3 a.m.".to_owned();
        let request = ReleaseRequest { reader: stage.reader.into(), lease: holder.lease, reason };
        assert_eq!(there.release(request).await?.into_inner().outcome(), ReleaseOutcome::Released);
        drop(session);
        let log = stage.broker.settled_log();
        let audit = log.lines().find(|line| line.contains("event=\"released\"")).context("no audit record")?;
        assert!(audit.contains("executable=\"/usr/") && audit.contains("words=\"found at 3 a.m.\""), "{audit}");
        let mut incidents = at(&mut here, stage.reader).await?.incidents.into_iter();
        let released = incidents.find(|incident| incident.kind() == IncidentKind::Released);
        assert!(released.is_some_and(|incident| incident.message.contains(" of user ")));
        Ok(())
    })
}
