//! Programs whose process the system does not tell, in a container or behind a relay: each connection is a caller of
//! its own, but calls of one program find each other.

use cardbroker_core::{caller::Caller, pcsclite::code::Code, user::example_account};

use super::program::{Program, USER, World};
use crate::pcsclite::door::Entrance;

/// How the system knows a caller.
#[derive(Debug, Clone, Copy)]
enum Known {
    /// By its process and its user.
    Process(u32),
    /// The caller by its user alone.
    User(u32),
    Nothing,
}

impl Known {
    fn caller(self, connection: u64) -> Caller {
        match self {
            Self::Process(pid) => Caller::local(connection, example_account(USER), Some(pid), Some(7)),
            Self::User(user) => Caller::local(connection, example_account(user), None, None),
            Self::Nothing => Caller::unknown(connection, None),
        }
    }

    fn connect(self, world: &mut World) -> Program {
        world.connect_as(|connection| self.caller(connection), &Entrance::Main)
    }
}

#[tokio::test]
async fn a_wait_is_cancelled_by_callers_that_may_be_its_process() {
    use Known::{Nothing, Process, User};
    let mut world = World::usual().await;
    for (waiter, canceller, may) in [
        (User(USER), User(USER), true),
        (User(USER), Process(1), true),
        (Process(1), User(USER), true),
        (Process(1), Process(1), true),
        (Process(1), Process(2), false),
        (User(USER), User(USER + 1), false),
        (Process(1), User(USER + 1), false),
        (User(USER), Nothing, false),
        (Nothing, Nothing, false),
    ] {
        let mut program = waiter.connect(&mut world);
        program.establish(4).await;
        program.send(0x13, &[], &[]).await;
        program.receive(16 * 184).await;
        let code = canceller.connect(&mut world).code(0x0D, &[program.context, 0]).await;
        if !may {
            program.send(0x14, &[], &[]).await;
        }
        let message = program.receive(8).await;
        let (cancelled, ended) =
            if may { (Code::SUCCESS, Code::CANCELLED) } else { (Code::INVALID_HANDLE, Code::SUCCESS) };
        assert_eq!((code, &message[4..]), (cancelled, &ended.0.to_ne_bytes()[..]), "{waiter:?} {canceller:?}");
    }
    world.stop().await;
}
