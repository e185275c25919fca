//! Operators: their rules, the log's filter, and the metrics.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cardbroker_client::ReaderState;
use cardbroker_proto::diagnostics::v1::{GetMetricsRequest, IncidentKind, SetLogFilterRequest};
use cardbroker_tests::harness::{
    broker::{Broker, Setup},
    programs::Program,
    run::run,
    users::may_be_several_users,
};
use tokio::time::sleep;
use tonic::{Code, Request};

use crate::{
    status::{at, status},
    wire::diagnostics,
    world::{COUNT, LONG, tell, unit, wait_for},
};

/// Rules for operators: one of everything, one of a single reader, and one with all rights on cards.
const RULES: &str = r#"
listen.socket_mode = "0666"
[[rule]]
name = "night shift"
principals = ["uid:4001"]
allow = ["see", "diagnose"]
[[rule]]
name = "second reader"
principals = ["uid:4002"]
readers = ["simulated-reader-01"]
allow = ["see", "diagnose", "release"]
[[rule]]
name = "cards"
principals = ["uid:4003"]
allow = ["all"]
"#;

#[test]
fn operators_see_what_their_rules_allow() -> anyhow::Result<()> {
    if !may_be_several_users()? {
        return Ok(());
    }
    tell(async {
        let setup = Setup::simulated(2)?.open_folder()?.configuration(RULES).log_level("info");
        let broker = setup.start()?;
        for reader in ["readers/simulated-reader-00", "readers/simulated-reader-01"] {
            wait_for(&broker, reader, ReaderState::Ready).await?;
        }
        let ask = |uid: u32, arguments: &[&str]| operator_of(&broker, uid, arguments);
        assert_eq!(ask(4001, &["status"])?, "broker readers/simulated-reader-00 readers/simulated-reader-01");
        assert_eq!(ask(4002, &["status"])?, "readers/simulated-reader-01");
        assert_eq!(ask(4003, &["status"])?, "PERMISSION_DENIED DENIED");
        assert_eq!(ask(4004, &["status"])?, "PERMISSION_DENIED DENIED");
        assert_eq!(ask(4002, &["status", "readers/simulated-reader-00"])?, "NOT_FOUND READER_NOT_FOUND");
        assert_eq!(ask(4001, &["release", "readers/simulated-reader-00"])?, "PERMISSION_DENIED DENIED");
        assert_eq!(ask(4002, &["release", "readers/simulated-reader-00"])?, "NOT_FOUND READER_NOT_FOUND");
        assert_eq!(ask(4002, &["release", "readers/simulated-reader-01"])?, "ABORTED LEASE_ENDED");
        assert_eq!(ask(4001, &["filter"])?, "PERMISSION_DENIED DENIED");
        Ok(())
    })
}

/// The output of the program `operator` of another user.
pub(crate) fn operator_of(broker: &Broker, uid: u32, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_operator"));
    command.arg(broker.socket()).arg(format!("--uid={uid}")).args(arguments);
    Program::spawn(&mut command)?.line()
}

#[test]
fn a_log_filter_is_in_force_for_a_time_only() -> anyhow::Result<()> {
    tell(async {
        let broker = Setup::simulated(1)?.log_level("info").start()?;
        let (client, mut operator) = (broker.client().await?, diagnostics(&broker).await?);
        let reader = "readers/simulated-reader-00";
        wait_for(&broker, reader, ReaderState::Ready).await?;
        unit(&client, reader, &[COUNT]).send().await?;
        assert!(!broker.settled_log().contains("unit done"));
        let second = prost_types::Duration { seconds: 1, nanos: 0 };
        let request = |filter: &str| SetLogFilterRequest { filter: filter.into(), duration: Some(second) };
        let refused = operator.set_log_filter(request("h2=trace")).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        let mut change = Request::new(request("debug"));
        let context = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        change.metadata_mut().insert("traceparent", context.parse()?);
        operator.set_log_filter(change).await?;
        let shown = status(&mut operator).await?.broker.context("no broker")?;
        assert!(shown.log_filter == "debug" && shown.log_filter_revert_time.is_some());
        unit(&client, reader, &[COUNT]).send().await?;
        let log = broker.settled_log();
        assert!(log.contains("unit done") && log.contains("log_filter_changed"), "{log}");
        let record = log.lines().find(|line| line.contains("log_filter_changed"));
        assert!(record.is_some_and(|record| record.contains(context)), "{log}");
        let deadline = Instant::now() + LONG;
        while status(&mut operator).await?.broker.context("no broker")?.log_filter != "info" {
            ensure!(Instant::now() < deadline, "the filter does not revert");
            sleep(Duration::from_millis(50)).await;
        }
        unit(&client, reader, &[COUNT]).send().await?;
        assert_eq!(broker.settled_log().matches("unit done").count(), 1);
        Ok(())
    })
}

#[test]
fn metrics_are_the_counters_as_openmetrics() -> anyhow::Result<()> {
    tell(async {
        let broker = Setup::simulated(2)?.start()?;
        let (client, mut operator) = (broker.client().await?, diagnostics(&broker).await?);
        let reader = "readers/simulated-reader-00";
        wait_for(&broker, reader, ReaderState::Ready).await?;
        for _ in 0..20 {
            unit(&client, reader, &[COUNT, COUNT]).send().await?;
        }
        let counters = at(&mut operator, reader).await?.counters.context("no counters")?;
        let metrics = operator.get_metrics(GetMetricsRequest {}).await?.into_inner().text;
        let line = |name: &str| {
            let beginning = format!("cardbroker_{name}{{reader=\"{reader}\"");
            let line = metrics.lines().find(|line| line.starts_with(&beginning));
            line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).with_context(|| format!("no {name}"))
        };
        assert_eq!((counters.unit_count, counters.command_count), (20, 40));
        assert_eq!((line("units_total")?, line("commands_total")?), (20.0, 40.0));
        assert_eq!((line("wait_seconds_count")?, line("turn_seconds_count")?), (20.0, 20.0));
        assert_eq!((line("command_seconds_count")?, line("waiting")?), (40.0, 0.0));
        assert!(line("command_seconds_sum")? > 0.0);
        let last = format!("command_seconds_bucket{{le=\"+Inf\",reader=\"{reader}\"}} 40");
        assert!(metrics.contains(&last) && metrics.ends_with("# EOF\n"), "{metrics}");
        let state = format!("cardbroker_state{{reader=\"{reader}\",state=\"READY\"}} 1");
        let version = format!("cardbroker_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
        let of_the_broker = ["cardbroker_pcsc_up 1", "cardbroker_over_budget_total 0"];
        for wanted in [&*state, &*version].into_iter().chain(of_the_broker) {
            assert!(metrics.lines().any(|line| line == wanted), "{wanted}: {metrics}");
        }
        assert!(metrics.contains("cardbroker_connections ") && metrics.contains("simulated-reader-01"), "{metrics}");
        Ok(())
    })
}

/// Rules for a user who sees the readers and may do nothing else.
const LOOK: &str = r#"
listen.socket_mode = "0666"
[[rule]]
name = "look"
principals = ["uid:4001"]
allow = ["see"]
"#;

#[test]
fn a_user_who_is_denied_at_every_reader_is_named_within_a_second() -> anyhow::Result<()> {
    if !may_be_several_users()? {
        return Ok(());
    }
    tell(async {
        let broker = Setup::simulated(1)?.open_folder()?.configuration(LOOK).start()?;
        let reader = "readers/simulated-reader-00";
        wait_for(&broker, reader, ReaderState::Ready).await?;
        let mut asker = Command::new(env!("CARGO_BIN_EXE_asker"));
        asker.args([&broker.endpoint(), "--uid", "4001", "--gid", "4001", reader, "--commands=count=8010000004"]);
        run(&mut asker)?;
        let mut operator = diagnostics(&broker).await?;
        let denied = at(&mut operator, reader).await?.incidents.into_iter().find(|incident| {
            let is_theirs = incident.caller.as_ref().is_some_and(|caller| caller.principal == "user 4001");
            let is_transmit = incident.message == "transmit is denied by rule \"default\"";
            incident.kind() == IncidentKind::Denied && is_theirs && is_transmit
        });
        denied.context("the denial is not shown")?;
        Ok(())
    })
}
