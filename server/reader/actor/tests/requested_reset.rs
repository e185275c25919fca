//! Resets that callers without a turn have asked for: they come after the turn in progress, before all that wait.

use cardbroker_core::{slot::ResetKind, turns::turn::Disposition};

use super::ends::{LONG, World};

#[tokio::test]
async fn a_requested_reset_comes_before_waiting_requests() {
    let world = World::with_card(LONG, true).await;
    let mut first = world.submit(1, Disposition::Leave);
    world.until_calling().await;
    // Of the same caller, so that no reset stands between them otherwise.
    let mut second = world.submit(1, Disposition::Leave);
    let resets = world.handle.marks().resets();
    world.handle.reset_after_turn(resets, ResetKind::Warm);
    world.handle.reset_after_turn(resets - 1, ResetKind::Warm);
    world.go.send(()).unwrap();
    first.outcome().await.unwrap();
    world.until_reset(1).await;
    assert_eq!(world.calls(), 1, "the second unit waits for the reset");
    world.go.send(()).unwrap();
    world.go.send(()).unwrap();
    second.outcome().await.unwrap();
    // There was a reset since.
    world.handle.reset_after_turn(resets, ResetKind::Warm);
    let mut third = world.submit(1, Disposition::Leave);
    world.go.send(()).unwrap();
    third.outcome().await.unwrap();
    // Without a turn in progress it comes at once.
    world.handle.reset_after_turn(resets + 1, ResetKind::Warm);
    world.until_reset(2).await;
    assert_eq!(world.handle.marks().resets(), resets + 1, "the second one has begun");
    world.go.send(()).unwrap();
    world.ends().await;
}
