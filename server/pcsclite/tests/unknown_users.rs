//! Programs whose user the system does not tell: no two of them share anything.

use std::path::Path;

use cardbroker_core::caller::{Caller, Principal};
use tokio_util::sync::CancellationToken;

use super::{
    program::World,
    terms::{READER, SHARED, TRIES, VERIFY},
};
use crate::{
    caller::group::GroupKey,
    config::Config,
    pcsclite::{IdleTimes, door::Entrance},
};

const RULES: &str = r#"
[pcsclite]
isolation = "user"

[[rule]]
name = "all"
principals = ["anyone"]
allow = ["see", "session", "leave"]
"#;

async fn world() -> World {
    World::with(Config::parse(Path::new("c.toml"), RULES).unwrap(), IdleTimes::default()).await
}

fn unknown(connection: u64) -> Caller {
    Caller::unknown(connection, Some(5))
}

#[tokio::test]
async fn programs_of_unknown_users_do_not_share_a_verified_pin() {
    let mut world = world().await;
    let (mut answers, mut members) = (Vec::new(), Vec::new());
    for command in [VERIFY, TRIES] {
        let mut program = world.connect_as(unknown, &Entrance::Main);
        program.establish(4).await;
        let (handle, _) = program.connect(READER, SHARED).await.unwrap();
        answers.push(program.transmit(handle, command).await.unwrap());
        members.push(program);
    }
    assert_eq!(answers, [[0x90, 0], [0x63, 0xC3]]);
    world.stop().await;
}

#[tokio::test]
async fn a_program_of_an_unknown_user_enters_no_private_door() {
    let mut world = world().await;
    let group = GroupKey::Caller(unknown(0).key);
    let door = Entrance::Private { group, user: Principal::Unknown, closing: CancellationToken::new() };
    assert!(world.connect_as(unknown, &door).is_closed().await);
    world.stop().await;
}
