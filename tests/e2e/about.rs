//! `GetBroker` and `GetReader`: the broker's description of itself, of its caller, and of one reader.

use std::time::{Duration, SystemTime};

use anyhow::Context;
use cardbroker_client::{Client, ConnectOptions, ReaderState};
use cardbroker_proto::{
    GROUP_METADATA, MAX_COMMANDS, MAX_MESSAGE_BYTES,
    v1::{GetBrokerRequest, GetReaderRequest},
};
use cardbroker_tests::harness::broker::Setup;
use rustix::process::{geteuid, getpid};
use tokio::time::timeout;
use tonic::Request;

use crate::{
    wire::{Stub, failure, stub, told},
    world::{LONG, PcscWorld, READER, Stage, in_group, over_both_backends, tell, wait_for},
};

const LIMITS: &str = r#"
[limits]
max_waiting_per_caller = 7
max_waiting_per_reader = 70
max_outcomes_per_user = 700
outcome_lifetime = "90s"
max_contended_lease = "45s"
turn_quantum = "250ms"
max_contended_unit = "5s"
"#;

/// The number of a client's isolation group.
async fn group(client: &Client) -> anyhow::Result<i64> {
    Ok(client.broker().await?.caller.group)
}

/// The number of the isolation group of a call with that key, or its error as text.
async fn numbered(stub: &mut Stub, key: Option<&str>) -> Result<i64, String> {
    let mut request = Request::new(GetBrokerRequest {});
    if let Some(key) = key {
        request.metadata_mut().insert(GROUP_METADATA, key.parse().unwrap());
    }
    let seen = stub.get_broker(request).await.map_err(|status| told(&status))?;
    Ok(seen.into_inner().caller.unwrap().group)
}

#[test]
fn a_connection_numbers_the_groups_that_it_joins() -> anyhow::Result<()> {
    tell(async {
        let broker = Setup::simulated(1)?.start()?;
        let _of_others = group(&in_group(&broker, "others").await?).await?;
        let mut stub = stub(&broker).await?;
        for (key, number) in [(None, 1), (Some("family"), 2), (Some("neighbours"), 3), (Some("family"), 2), (None, 1)] {
            assert_eq!(numbered(&mut stub, key).await, Ok(number), "{key:?}");
        }
        for further in 4..=16 {
            assert_eq!(numbered(&mut stub, Some(&format!("key-{further}"))).await, Ok(further));
        }
        let refused = Err("InvalidArgument INVALID_REQUEST not_sent".to_owned());
        assert_eq!(numbered(&mut stub, Some("one-too-many")).await, refused);
        for malformed in ["two words", " ", "\ttab"] {
            assert_eq!(numbered(&mut stub, Some(malformed)).await, refused, "{malformed:?}");
        }
        Ok(())
    })
}

#[test]
fn a_caller_is_a_unix_process_or_a_tcp_connection() -> anyhow::Result<()> {
    tell(async {
        let rule = "rule = [{ name = 'tests', principals = ['token:tests'], allow = ['all'] }]";
        let broker = Setup::simulated(1)?.configuration(rule).log_level("info").tcp(&["tests"])?.start()?;
        let local = broker.client().await?.broker().await?.caller;
        assert_eq!(local.principal, format!("user {}", geteuid().as_raw()));
        let process = getpid().as_raw_nonzero().get();
        assert_eq!((local.process_id, local.is_connection), (Some(process), false));
        assert!(local.connection > 0 && local.group > 0, "{local:?}");

        let remote = broker.tcp_client("tests").await?;
        let seen = remote.broker().await?.caller;
        assert_eq!((&*seen.principal, seen.process_id), ("token tests", None));
        assert_eq!((seen.is_connection, seen.group), (true, 0), "each of its calls is a group of its own");
        let options = ConnectOptions {
            group: Some("family".into()),
            token_file: Some(broker.token_file("tests")),
            ..ConnectOptions::default()
        };
        let grouped = Client::connect_with(broker.tcp_endpoint()?.parse()?, options).await?;
        assert_eq!(group(&grouped).await?, 1);
        Ok(())
    })
}

#[test]
fn a_malformed_group_key_is_refused() -> anyhow::Result<()> {
    tell(async {
        let broker = Setup::simulated(1)?.start()?;
        for key in [String::new(), "x".repeat(129)] {
            let mut request = Request::new(GetBrokerRequest {});
            request.metadata_mut().insert(GROUP_METADATA, key.parse()?);
            let status = timeout(LONG, stub(&broker).await?.get_broker(request)).await?.unwrap_err();
            assert_eq!(told(&status), "InvalidArgument INVALID_REQUEST not_sent");
            assert_eq!(failure(&status).context("no failure")?.field_violations[0].field, GROUP_METADATA);
        }
        Ok(())
    })
}

#[test]
fn limits_follow_the_configuration_and_each_run_has_an_epoch() -> anyhow::Result<()> {
    tell(async {
        let before = SystemTime::now();
        let mut broker = Setup::simulated(1)?.configuration(LIMITS).start()?;
        let told = broker.client().await?.broker().await?;
        assert_eq!(told.version, env!("CARGO_PKG_VERSION"));
        assert!(told.start_time.is_some_and(|start| start >= before && start <= SystemTime::now()), "{told:?}");
        let limits = &told.limits;
        assert_eq!((limits.max_waiting_per_caller, limits.max_waiting_per_reader), (7, 70));
        assert_eq!((limits.max_outcomes_per_user, limits.outcome_lifetime), (700, Duration::from_secs(90)));
        assert_eq!(limits.max_contended_lease, Duration::from_secs(45));
        assert_eq!(limits.turn_quantum, Some(Duration::from_millis(250)));
        assert_eq!(limits.max_contended_unit, Duration::from_secs(5));
        let [message, commands] = [MAX_MESSAGE_BYTES, MAX_COMMANDS].map(|limit| u32::try_from(limit).unwrap());
        assert_eq!((limits.max_message_bytes, limits.max_commands), (message, commands));
        assert_eq!(limits.max_session_messages, 32);
        assert_eq!(broker.client().await?.broker().await?.epoch, told.epoch);
        broker.stop()?;
        broker.start_again()?;
        let next = broker.client().await?.broker().await?;
        assert!(!next.epoch.is_empty() && next.epoch != told.epoch, "{next:?}");
        Ok(())
    })
}

async fn get_reader_and_list_readers_agree(stage: Stage) -> anyhow::Result<()> {
    let mut stub = stub(&stage.broker).await?;
    let request = GetReaderRequest { name: stage.reader.into() };
    let found = timeout(LONG, stub.get_reader(request)).await??.into_inner().reader.context("no reader")?;
    let listed = stage.client.readers().await?.into_iter().find(|reader| reader.name == stage.reader);
    assert_eq!(Some(&found), listed.as_ref());
    assert_eq!(found.state(), ReaderState::Ready);
    for name in ["readers/nowhere", "", &found.display_name] {
        let missing = timeout(LONG, stub.get_reader(GetReaderRequest { name: name.into() })).await?.unwrap_err();
        assert_eq!(told(&missing), "NotFound READER_NOT_FOUND not_sent");
    }
    Ok(())
}

over_both_backends! { T1: get_reader_and_list_readers_agree }

#[test]
fn get_reader_treats_a_hidden_reader_as_missing() -> anyhow::Result<()> {
    tell(async {
        let hide = "rule = [{ name = 'hide', principals = ['self'], readers = ['.*01'], deny = ['see'] }]";
        let broker = Setup::simulated(2)?.configuration(hide).start()?;
        wait_for(&broker, "readers/simulated-reader-00", ReaderState::Ready).await?;
        let mut stub = stub(&broker).await?;
        let mut refusals = Vec::new();
        for name in ["readers/simulated-reader-01", "readers/simulated-reader-77"] {
            let status = timeout(LONG, stub.get_reader(GetReaderRequest { name: name.into() })).await?.unwrap_err();
            assert_eq!(told(&status), "NotFound READER_NOT_FOUND not_sent");
            refusals.push(failure(&status).context("no failure")?);
        }
        assert_eq!(refusals[0], refusals[1], "neither a name nor a rule tells them apart");
        Ok(())
    })
}

#[test]
fn get_reader_returns_the_current_state() -> anyhow::Result<()> {
    tell(async {
        let world = PcscWorld::usual().await?;
        let client = world.broker.client().await?;
        let before = client.reader(READER).await?;
        assert!(before.state() == ReaderState::Ready && !before.insertion_id.is_empty(), "{before:?}");
        world.card.pull();
        wait_for(&world.broker, READER, ReaderState::Empty).await?;
        let empty = client.reader(READER).await?;
        assert!(empty.state() == ReaderState::Empty && empty.insertion_id.is_empty(), "{empty:?}");
        assert!(empty.atr.is_empty());
        Ok(())
    })
}
