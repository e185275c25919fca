//! The limits of a door: connections, contexts, handles of all users, and private doors, each until one is free again.

use std::time::{Duration, Instant};

use cardbroker_core::{caller::Caller, error::Reason, pcsclite::code::Code, user::example_account};

use super::{
    program::{Program, USER, World},
    terms::{DIRECT, READER},
};
use crate::{
    caller::group::GroupKey,
    config::Config,
    pcsclite::{IdleTimes, door::Entrance},
};

/// The maximum number of connections of one user.
const CONNECTIONS: usize = 256;
/// The maximum number of handles of one user, of all users without those kept for small ones, and of a small user.
const HANDLES: [usize; 3] = [512, 1792, 32];
/// The same for private doors.
const PRIVATE_DOORS: [usize; 3] = [16, 56, 1];
const LONGEST: Duration = Duration::from_secs(10);

#[tokio::test]
async fn too_many_connections_of_one_user_are_closed() {
    let mut world = World::usual().await;
    let (private, _closing) = world.private_door();
    let doors = [Entrance::Main, private];
    // They are counted together, whatever their process and their door.
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS / 2 {
        open.extend([(1, &doors[0]), (2, &doors[1])].map(|(pid, door)| world.connect_at(pid, USER, door)));
    }
    for program in &mut open {
        assert!(program.is_served().await);
    }
    for door in &doors {
        assert!(!world.connect_at(1, USER, door).is_served().await, "one too many");
    }
    assert!(world.connect_at(1, USER + 1, &Entrance::Main).is_served().await, "another user");
    open.pop();
    let began = Instant::now();
    while !world.connect(1).is_served().await {
        assert!(began.elapsed() < LONGEST, "the place is never free");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_connection_has_one_context_at_a_time() {
    let mut world = World::usual().await;
    let mut program = world.program(1, 4).await;
    assert_eq!(program.code(0x01, &[2, 0, 0]).await, Code::INVALID_VALUE, "a second one");
    assert_eq!(program.code(0x02, &[program.context, 0]).await, Code::SUCCESS);
    assert_eq!(program.code(0x01, &[2, 0, 0]).await, Code::SUCCESS, "the first one is released");
    world.stop().await;
}

/// A program of this user.
async fn program_of(world: &mut World, user: u32) -> Program {
    let mut program = world.connect_at(1, user, &Entrance::Main);
    program.establish(4).await;
    program
}

/// Connects handles until the door refuses one. Returns the handles and the code.
async fn fill(program: &mut Program) -> (Vec<u32>, Code) {
    let mut handles = Vec::new();
    loop {
        match program.connect(READER, DIRECT).await {
            Ok((handle, _)) => handles.push(handle),
            Err(code) => return (handles, code),
        }
    }
}

#[tokio::test]
async fn users_that_hold_many_handles_leave_some_to_others() {
    let [most, together, few] = HANDLES;
    let rules = "rule = [{ name = 'n', principals = ['anyone'], allow = ['see'] }]";
    let mut world = World::with(Config::parse("c.toml".as_ref(), rules).unwrap(), IdleTimes::default()).await;
    let (mut programs, mut taken) = (Vec::new(), Vec::new());
    for user in USER..USER + 4 {
        let mut program = program_of(&mut world, user).await;
        let (handles, code) = fill(&mut program).await;
        assert_eq!(code, Code::NO_MEMORY);
        taken.push(handles.len());
        programs.push((program, handles));
    }
    assert_eq!(taken, [most, most, most, together - 3 * most]);
    let (first, handles) = &mut programs[0];
    assert_eq!(first.disconnect(handles[0], 0).await, Code::SUCCESS);
    let (fourth, _) = &mut programs[3];
    let (freed, code) = fill(fourth).await;
    assert_eq!((freed.len(), code), (1, Code::NO_MEMORY), "a handle of another user was free");
    let mut small = program_of(&mut world, USER + 4).await;
    let (mut handles, code) = fill(&mut small).await;
    assert_eq!((handles.len(), code), (few, Code::NO_MEMORY));
    assert_eq!(small.disconnect(handles.remove(0), 0).await, Code::SUCCESS);
    assert_eq!(fill(&mut small).await.0.len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn too_many_private_doors_are_refused() {
    let [most, together, few] = PRIVATE_DOORS;
    let world = World::usual().await;
    let folder = tempfile::tempdir().unwrap();
    let (doors, _guard) = world.private_doors(folder.path());
    let open = |user| {
        let caller = Caller::local(1, example_account(user), Some(1), Some(7));
        doors.open(&caller, GroupKey::Caller(caller.key)).map_err(|failure| failure.reason)
    };
    let fill = |user| std::iter::from_fn(|| open(user).ok()).take(together).collect::<Vec<_>>();
    let mut users = [USER, USER + 1, USER + 2, USER + 3].map(fill);
    let counts = users.each_ref().map(Vec::len);
    assert_eq!(counts, [most, most, most, together - 3 * most]);
    for user in USER..USER + 4 {
        assert_eq!(open(user).err(), Some(Reason::QueueFull));
    }
    // A door that is closed makes room, for another user, too.
    users[0].pop();
    users[0].push(open(USER).expect("a door is closed"));
    users[0].pop();
    users[3].push(open(USER + 3).expect("a door is closed"));
    assert_eq!(open(USER).err(), Some(Reason::QueueFull));
    let mut small = fill(USER + 4);
    assert_eq!((small.len(), open(USER + 4).err()), (few, Some(Reason::QueueFull)));
    small.pop();
    assert!(open(USER + 4).is_ok());
    world.stop().await;
}
