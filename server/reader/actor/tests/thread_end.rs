//! Failures of the way to the card thread: a thread that panics, and one that has no room for a job.

use cardbroker_core::{apdu::ApduBytes, error::Delivery, slot::SlotError, status::State, turns::turn::Disposition};

use super::{
    super::*,
    ends::{LONG, World, commands},
    history::History,
};
use crate::reader::session::SessionEvent;

fn panics() -> Result<ApduBytes, SlotError> {
    panic!("as scripted")
}

async fn world() -> World {
    World::with_answer(LONG, panics).await
}

/// Waits for the reader's last status.
async fn until_unavailable(world: &World) {
    let published = async {
        loop {
            if let Some(Some(status)) = world.statuses.take().await.get(&"r".into())
                && status.state == State::Unavailable
            {
                return;
            }
        }
    };
    tokio::time::timeout(LONG, published).await.expect("it is published");
}

#[tokio::test]
async fn a_panic_of_the_card_thread_ends_its_unit_and_refuses_the_waiters() {
    let world = world().await;
    let mut running = world.submit(1, Disposition::Leave);
    world.until_calling().await;
    let mut waiting = world.submit(2, Disposition::Leave);
    world.go.send(()).unwrap();
    let outcome = tokio::time::timeout(LONG, running.outcome()).await.expect("it is answered");
    let failure = outcome.unwrap_err();
    assert_eq!((failure.reason, failure.delivery), (Reason::Internal, Delivery::Unknown));
    let failure = waiting.outcome().await.unwrap_err();
    assert_eq!((failure.reason, failure.delivery), (Reason::Internal, Delivery::NotSent));
    until_unavailable(&world).await;
    let failure = world.try_submit(3, Disposition::Leave).err().expect("the reader has failed");
    assert_eq!((failure.reason, failure.delivery), (Reason::Internal, Delivery::NotSent));
    world.ends_by_itself().await;
}

#[tokio::test]
async fn a_panic_of_the_card_thread_ends_its_session() {
    let world = world().await;
    let mut session = world.session().await;
    let running = session.transmit(commands(), false, Instant::now()).unwrap();
    world.go.send(()).unwrap();
    let SessionEvent::Over(over) = tokio::time::timeout(LONG, session.news()).await.expect("the session ends") else {
        panic!("nobody waits");
    };
    assert_eq!((over.failure.reason, over.failure.delivery), (Reason::Internal, Delivery::NotSent));
    assert!(over.hangs, "the holder ends its tasks itself");
    drop((running, session));
    world.ends_by_itself().await;
}

#[tokio::test]
async fn a_reader_that_has_stopped_says_that_the_broker_stops() {
    let world = world().await;
    world.shutdown.cancel();
    tokio::time::timeout(LONG, world.stopped()).await.expect("the actor ends");
    let failure = world.try_submit(1, Disposition::Leave).err().expect("the reader has stopped");
    assert_eq!((failure.reason, failure.delivery), (Reason::ShuttingDown, Delivery::NotSent));
}

#[test]
fn a_job_without_room_fails_alone() {
    let history = History { on_demand: false, steps: Vec::new(), stops: false, quantum: Duration::ZERO };
    let mut world = super::world::World::new(history, None);
    world.actor.worker.take();
    let (full, _jobs) = thread_mpsc::sync_channel(0);
    world.actor.jobs = full;
    world.actor.start(Job::Take, Work::Handling);
    assert!(world.actor.worker.is_idle() && !world.actor.phase.is_ending());
}

#[test]
fn a_call_that_panics_has_ended() {
    let watchdog = CallWatchdog::new();
    let call = std::panic::AssertUnwindSafe(|| watchdog.during(|| panic!("as scripted")));
    assert!(std::panic::catch_unwind(call).is_err());
    assert_eq!(watchdog.call_began(), None);
}
