//! Places that users share: connections and kept outcomes. A user that takes all it gets leaves room for others.

use std::process::Command;

use anyhow::ensure;
use cardbroker_client::ReaderState;
use cardbroker_tests::harness::{
    broker::{Broker, Setup},
    run::run,
    users::may_be_several_users,
};

use crate::{
    talkers::Talker,
    world::{COUNT, answers, tell, unit, wait_for},
};

const READER: &str = "readers/simulated-reader-00";
const GREEDY: [u32; 4] = [4002, 4003, 4004, 4005];
const RULES: &str = r#"
listen.socket_mode = "0666"
CONNECTIONS
[[rule]]
name = "anyone"
principals = ["anyone"]
allow = ["see", "transmit"]
"#;

/// A broker for all users, with these settings of connections.
async fn broker(connections: &str) -> anyhow::Result<Broker> {
    let rules = RULES.replace("CONNECTIONS", connections);
    let broker = Setup::simulated(1)?.open_folder()?.configuration(&rules).log_level("info").start()?;
    wait_for(&broker, READER, ReaderState::Ready).await?;
    Ok(broker)
}

fn greedy(broker: &Broker, uid: u32, places: &str, count: &str) -> Command {
    let mut greedy = Command::new(env!("CARGO_BIN_EXE_greedy"));
    greedy.arg(broker.socket()).args([places, count]).arg(format!("--uid={uid}"));
    greedy
}

/// Starts two processes of each greedy user, 64 connections each. Returns how many each user has, while the owner of
/// the broker needs a connection.
async fn greedy_connections(connections: &str) -> anyhow::Result<[u64; 4]> {
    let broker = broker(connections).await?;
    let mut crowd = Vec::new();
    for uid in GREEDY {
        let process = || Talker::start(&mut greedy(&broker, uid, "connections", "64"), "ready");
        crowd.push([process()?, process()?]);
    }
    for _ in 0..3 {
        let listed = broker.cardbroker(&["readers"])?;
        ensure!(listed.code == Some(0), "the owner finds no place: {listed:?}");
    }
    let mut held = [0; 4];
    for (held, [first, second]) in held.iter_mut().zip(crowd) {
        *held = first.end()? + second.end()?;
    }
    assert!(broker.settled_log().contains("further connections of its user are closed"));
    Ok(held)
}

#[test]
fn users_with_many_connections_leave_some_to_others() -> anyhow::Result<()> {
    if !may_be_several_users()? {
        return Ok(());
    }
    tell(async {
        assert_eq!(greedy_connections("listen.max_connections = 64").await?, [16, 16, 16, 8]);
        let all = "listen.max_connections = 64\nlisten.max_connections_per_user = 64";
        assert_eq!(greedy_connections(all).await?, [56, 1, 1, 1]);
        Ok(())
    })
}

/// Fills outcomes of a greedy user. Returns how repeats of the first and the last unit ended, and all units before.
async fn fill(broker: &Broker, uid: u32, count: usize) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let mut greedy = greedy(broker, uid, "outcomes", &count.to_string());
    let told = tokio::task::spawn_blocking(move || run(&mut greedy)).await??;
    ensure!(told.code == Some(0), "{told:?}");
    let mut units: Vec<_> = told.out.lines().map(str::to_owned).collect();
    Ok((units.split_off(count), units))
}

#[test]
fn a_user_with_long_outcomes_loses_only_its_own() -> anyhow::Result<()> {
    if !may_be_several_users()? {
        return Ok(());
    }
    tell(async {
        let broker = broker("").await?;
        let client = broker.client().await?;
        let ask = |id| unit(&client, READER, &[COUNT]).request_id([id; 16]).send();
        assert!(!ask(1).await?.replayed);
        // Each has almost 1 MiB: more than the user's 16 MiB.
        let (repeats, units) = fill(&broker, GREEDY[0], 20).await?;
        assert_eq!(units, ["answered"; 20]);
        assert_eq!(repeats, ["OUTCOMES_FULL unknown", "replayed"], "the first and the last one again");
        assert_eq!(fill(&broker, GREEDY[1], 2).await?.0, ["replayed"; 2], "another user has room");
        let (old, new) = (ask(1).await?, ask(2).await?);
        assert_eq!((old.replayed, answers(&old)), (true, vec!["00000001 9000".to_owned()]));
        let commands = format!("{:08X} 9000", 1 + (20 + 2) * 15 + 1);
        assert_eq!((new.replayed, answers(&new)), (false, vec![commands]), "no repeat has run again");
        Ok(())
    })
}
