//! Turns that come while the client is away, and calls that do not need them: only a call that begins such a turn
//! uses it.

use std::time::{Duration, Instant};

use cardbroker_core::pcsclite::code::Code;

use super::{
    program::{Program, World},
    terms::{READ, SELECT},
};

/// The call of a handle that leaves its turn as it is.
#[derive(Debug, Clone, Copy)]
enum Call {
    Reconnect,
    End,
    /// On a protocol that the handle does not have.
    Transmit,
}

const CALLS: [Call; 3] = [Call::Reconnect, Call::End, Call::Transmit];

impl Call {
    async fn make(self, program: &mut Program, handle: u32) {
        match self {
            Self::Reconnect => assert_eq!(program.reconnect(handle, 0).await, Code::SUCCESS),
            Self::End => assert_eq!(program.end(handle, 0).await, Code::NOT_TRANSACTED),
            Self::Transmit => {
                let length = u32::try_from(READ.len()).unwrap();
                let body = [handle, 1, 8, length, 3, 16, 258, 0].map(u32::to_ne_bytes).concat();
                program.send(0x09, &body, READ).await;
                assert_eq!(program.receive(32).await[28..], Code::PROTO_MISMATCH.0.to_ne_bytes());
            }
        }
    }
}

/// Two programs. The turn of the first has come while its client was away, after another program's selection.
async fn world() -> (World, [(Program, u32); 2]) {
    let mut world = World::usual().await;
    let [(mut first, one), (mut rival, two)] = world.programs().await;
    first.transmit(one, READ).await.unwrap();
    assert_eq!(rival.begin(two).await, Code::SUCCESS);
    assert_eq!(first.transmit(one, READ).await, Err(Code::SHARING_VIOLATION), "its place is kept");
    rival.transmit(two, SELECT).await.unwrap();
    rival.transmit(two, &[0, 0xC0, 0, 0, 0x13]).await.unwrap();
    assert_eq!(rival.end(two, 0).await, Code::SUCCESS);
    let ended = Instant::now();
    while world.waiting(1).await > 0 {
        assert!(ended.elapsed() < Duration::from_millis(200), "the turn does not come");
    }
    (world, [(first, one), (rival, two)])
}

#[tokio::test]
async fn a_transaction_in_an_awaited_turn_keeps_others_out() {
    for call in CALLS {
        let (world, [(mut first, one), (mut rival, two)]) = world().await;
        call.make(&mut first, one).await;
        if !matches!(call, Call::Reconnect) {
            assert_eq!(first.begin(one).await, Code::RESET_CARD, "{call:?}: another program's selection");
            assert_eq!(first.reconnect(one, 0).await, Code::SUCCESS);
        }
        assert_eq!(first.begin(one).await, Code::SUCCESS);
        assert_eq!(rival.begin(two).await, Code::SHARING_VIOLATION, "{call:?}: in the middle of the transaction");
        assert_eq!(first.transmit(one, READ).await.map(|answer| answer.len()), Ok(4));
        assert_eq!(first.end(one, 0).await, Code::SUCCESS, "{call:?}");
        world.stop().await;
    }
}

#[tokio::test]
async fn no_command_in_an_awaited_turn_goes_to_anothers_application() {
    for call in [Call::End, Call::Transmit] {
        let (world, [(mut first, one), _]) = world().await;
        call.make(&mut first, one).await;
        assert_eq!(first.transmit(one, READ).await, Err(Code::RESET_CARD), "{call:?}");
        world.stop().await;
    }
}
