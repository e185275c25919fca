//! Private doors: one isolation group each, for one user.

use std::time::Duration;

use cardbroker_core::{caller::Caller, error::Reason, pcsclite::code::Code, user::example_account};

use super::{
    program::{USER, World},
    terms::{READER, SHARED, TRIES, VERIFY},
};
use crate::caller::group::GroupKey;

#[tokio::test]
async fn a_private_door_is_one_group_of_one_user() {
    let mut world = World::usual().await;
    let (door, _) = world.private_door();
    let (mut answers, mut members) = (Vec::new(), Vec::new());
    for (pid, command) in [(1, VERIFY), (2, TRIES)] {
        let mut program = world.connect_at(pid, USER, &door);
        program.establish(5).await;
        let (handle, _) = program.connect(READER, SHARED).await.unwrap();
        answers.push(program.transmit(handle, command).await.unwrap());
        // The group ends with the last of its connections.
        members.push(program);
    }
    assert_eq!(answers, [[0x90, 0], [0x90, 0]]);
    let mut outside = world.program(3, 4).await;
    let (handle, _) = outside.connect(READER, SHARED).await.unwrap();
    assert_eq!(outside.transmit(handle, TRIES).await.unwrap(), [0x63, 0xC3]);
    assert!(world.connect_at(4, USER + 1, &door).is_closed().await, "another user");
    world.stop().await;
}

#[tokio::test]
async fn a_private_door_that_closes_ends_its_connections_and_its_group() {
    let mut world = World::usual().await;
    let (door, closing) = world.private_door();
    let mut inside = world.connect_at(1, USER, &door);
    inside.establish(5).await;
    let (handle, _) = inside.connect(READER, SHARED).await.unwrap();
    assert_eq!(inside.begin(handle).await, Code::SUCCESS);
    assert_eq!(inside.transmit(handle, VERIFY).await.unwrap(), [0x90, 0]);
    let mut outside = world.program(2, 4).await;
    closing.cancel();
    assert!(inside.is_closed().await);
    let (handle, _) = outside.connect(READER, SHARED).await.unwrap();
    assert_eq!(outside.transmit(handle, TRIES).await.unwrap(), [0x63, 0xC3]);
    world.stop().await;
}

#[tokio::test]
async fn the_opener_of_a_private_door_learns_that_it_accepts_no_more_programs() {
    let world = World::usual().await;
    let folder = tempfile::tempdir().unwrap();
    let (doors, _guard) = world.private_doors(folder.path());
    let opener = Caller::local(0, example_account(USER), Some(99), Some(7));
    let mut door = doors.open(&opener, GroupKey::Caller(opener.key)).unwrap();
    door.abort_accepting();
    let failure = tokio::time::timeout(Duration::from_secs(10), door.failed()).await.unwrap();
    assert_eq!(failure.reason, Reason::Internal);
    assert_eq!(failure.message, "the private door accepts no more programs: open another one");
    world.stop().await;
}
