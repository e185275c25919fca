//! Another program holds the card: status, trace and full screen say so within a second, and doctor names the program.

use std::time::Duration;

use anyhow::Context;
use cardbroker_client::ReaderState;
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_proto::diagnostics::v1::{IncidentKind, TraceEventKind, TraceRequest};
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{
        broker::{Broker, Setup},
        pcscd::Pcscd,
        programs::Program,
        run::cardbroker,
    },
};
use tokio::time::timeout;

use crate::{
    status::soon,
    top::{top_of, within_a_second},
    trace::Following,
    wire::diagnostics,
    world::{COUNT, READER, refusal, tell, unit, wait_for},
};

const SECOND: Duration = Duration::from_secs(1);

/// A broker at whose reader another program holds the card.
struct Scene {
    broker: Broker,
    // Dropped in this order.
    _rival: Program,
    _card: VirtualCard,
    _pcscd: Pcscd,
}

impl Scene {
    async fn new() -> anyhow::Result<Self> {
        let pcscd = Pcscd::start(1)?;
        let arguments = ["hold", &*pcscd.reader_name(0), "--duration-ms", "600000"];
        let mut rival = Program::start(env!("CARGO_BIN_EXE_interferer"), &pcscd, &arguments)?;
        assert_eq!(rival.line()?, "holding");
        let broker = Setup::on(&pcscd)?.start()?;
        let card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
        wait_for(&broker, READER, ReaderState::HeldElsewhere).await?;
        Ok(Self { broker, _rival: rival, _card: card, _pcscd: pcscd })
    }

    /// Asks for a unit, which is refused at once.
    async fn ask(&self) -> anyhow::Result<()> {
        let refused = refusal(unit(&self.broker.client().await?, READER, &[COUNT])).await?;
        assert_eq!(refused, "HELD_ELSEWHERE not_sent");
        Ok(())
    }
}

#[test]
fn the_status_shows_the_state_and_the_refused_request() -> anyhow::Result<()> {
    tell(async {
        let scene = Scene::new().await?;
        let mut operator = diagnostics(&scene.broker).await?;
        scene.ask().await?;
        let shown = soon(&mut operator, READER, |shown| shown.incidents.len() >= 2).await?;
        let incidents: Vec<_> =
            shown.incidents.iter().map(|incident| (incident.kind(), incident.reason().short_name())).collect();
        assert_eq!(
            incidents[..2],
            [(IncidentKind::NotServed, "HELD_ELSEWHERE"), (IncidentKind::Reader, "UNSPECIFIED")]
        );
        assert_eq!(shown.incidents[1].message, "another program holds the card");
        let caller = shown.incidents[0].caller.as_ref().context("no caller")?;
        assert_eq!(caller.process_id, i32::try_from(std::process::id()).ok());
        assert!(shown.holder.is_none() && shown.counters.context("no counters")?.not_served_count == 1);

        let text = scene.broker.cardbroker(&["status", READER])?;
        for expected in ["HELD_ELSEWHERE since ", "another program holds the card", "1 not served"] {
            assert!(text.out.contains(expected), "{expected}: {text:?}");
        }
        Ok(())
    })
}

#[test]
fn the_trace_shows_the_refused_request() -> anyhow::Result<()> {
    tell(async {
        let scene = Scene::new().await?;
        let kinds = vec![TraceEventKind::NotServed.into()];
        let mut trace = Following::begin(&scene.broker, TraceRequest { kinds, ..TraceRequest::default() }).await?;
        let mut program = Program::spawn(&mut cardbroker(&scene.broker.endpoint(), &["trace", "--reader", READER])?)?;
        assert!(program.line()?.starts_with("-- trace since "));
        scene.ask().await?;
        let events =
            timeout(SECOND, trace.until(|events| !events.is_empty())).await.context("not within a second")??;
        assert_eq!(crate::trace::texts(events), ["not served: HELD_ELSEWHERE"]);
        let caller = events[0].caller.as_ref().context("no caller")?;
        assert_eq!(caller.process_id, i32::try_from(std::process::id()).ok());
        let line = program.line()?;
        assert!(line.ends_with("not served: HELD_ELSEWHERE") && line.contains("virtual-pcd"), "{line}");
        Ok(())
    })
}

#[test]
fn the_full_screen_shows_the_state_and_the_refused_request() -> anyhow::Result<()> {
    tell(async {
        let scene = Scene::new().await?;
        let tmux = top_of(&scene.broker)?;
        within_a_second(&tmux, "held elsewhere")?;
        tmux.press(&["Enter"])?;
        within_a_second(&tmux, "another program holds the card")?;
        scene.ask().await?;
        within_a_second(&tmux, "not served (held elsewhere)")?;
        Ok(())
    })
}
