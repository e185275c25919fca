//! Who may trace what, and the places for traces.

use anyhow::Context;
use cardbroker_client::ReaderState;
use cardbroker_proto::{
    diagnostics::v1::{GetStatusRequest, TraceLevel, TraceRequest},
    reason::REASON_TRAILER,
};
use cardbroker_tests::harness::broker::Setup;
use tokio::time::timeout;
use tonic::Code;

use super::Following;
use crate::{
    wire::diagnostics,
    world::{COUNT, LONG, tell, unit, wait_for},
};

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

        // One user has four of the eight places.
        let mut more = Vec::new();
        for _ in 0..3 {
            more.push(Following::begin(&broker, TraceRequest::default()).await?);
        }
        let full = Some((Code::ResourceExhausted, "QUEUE_FULL".into()));
        assert_eq!(refused(&[], headers).await?, full);
        let one_more = broker.cardbroker(&["trace"])?;
        assert!(one_more.code == Some(1) && one_more.err.contains("4 traces of your user run"), "{one_more:?}");
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
