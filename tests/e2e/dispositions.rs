//! Resets and dispositions of units and sessions, as the card sees them.

use cardbroker_client::{CardReset, Disposition, ErrorReason, ReaderState};
use cardbroker_proto::v1::{Disposition as WireDisposition, SessionOpen};
use cardbroker_tests::cards::VirtualCard;

use crate::{
    conversation::{Conversation, opening},
    wire::stub,
    world::{
        COUNT, INCREMENT, LONG, PROTECTED, PcscWorld, READER, Stage, VERIFY, answers, fault, over_both_backends,
        refusal, tell, unit, wait_for,
    },
};

const DISPOSED: [Disposition; 2] = [Disposition::Reset, Disposition::Unpower];

over_both_backends! { T1:
    a_reset_disposition_clears_the_security_state,
    a_state_tag_does_not_outlive_a_reset,
    a_failed_reset_after_a_unit_makes_the_reader_mute,
    a_cold_reset_before_a_unit_clears_the_verification,
}

mod without_permission {
    use super::*;
    over_both_backends! { T1, "rule = [{ name = 'no resets', principals = ['self'], deny = ['reset'] }]":
        resets_of_a_unit_are_denied,
    }
    async fn resets_of_a_unit_are_denied(stage: Stage) -> anyhow::Result<()> {
        let dispositions = DISPOSED.map(|disposition| stage.unit(&[INCREMENT]).disposition(disposition));
        let before = [CardReset::Warm, CardReset::Cold].map(|reset| stage.unit(&[INCREMENT]).reset_before(reset));
        for unit in dispositions.into_iter().chain(before) {
            let denied = unit.send().await.unwrap_err();
            assert_eq!(denied.reason(), Some(ErrorReason::Denied));
            assert_eq!(denied.failure().unwrap().rule.as_deref(), Some("no resets"));
        }
        let left = stage.unit(&[INCREMENT]).disposition(Disposition::Leave).reset_before(CardReset::None);
        assert_eq!(answers(&left.send().await?), ["00000001 9000"], "a denied unit has not run");
        Ok(())
    }
}

async fn a_reset_disposition_clears_the_security_state(stage: Stage) -> anyhow::Result<()> {
    for disposition in DISPOSED {
        let verified = stage.unit(&[VERIFY, PROTECTED]).disposition(disposition).send().await?;
        assert!(answers(&verified)[1].ends_with(" 9000"), "the reset comes after the last command");
        let next = stage.unit(&[PROTECTED]).send().await?;
        assert_eq!((&*answers(&next)[0], next.was_reset), ("6982", true), "{disposition:?}");
        assert!(!stage.unit(&[COUNT]).send().await?.was_reset, "once");
    }
    let left = stage.unit(&[VERIFY]).disposition(Disposition::Leave).send().await?;
    let next = stage.unit(&[PROTECTED]).send().await?;
    assert!(answers(&next)[0].ends_with(" 9000") && !next.was_reset, "{next:?}");
    // A stopped unit has its disposition, too.
    let stopped = stage.unit(&["00B2010505", VERIFY]).disposition(Disposition::Reset);
    assert_eq!(refusal(stopped).await?, "STATUS_WORD not_sent at 1 after 1 answers");
    let next = stage.unit(&[PROTECTED]).send().await?;
    assert_eq!((&*answers(&next)[0], next.was_reset), ("6982", true));
    assert_eq!(left.insertion_id, next.insertion_id, "it is the same insertion all the time");
    Ok(())
}

async fn a_state_tag_does_not_outlive_a_reset(stage: Stage) -> anyhow::Result<()> {
    for disposition in DISPOSED {
        let disposed = stage.unit(&[INCREMENT]).disposition(disposition).send().await?;
        let stale = stage.unit(&[INCREMENT]).if_state_tag(&disposed.state_tag);
        assert_eq!(refusal(stale).await?, "STATE_CHANGED not_sent", "{disposition:?}");
        let same_card = stage.unit(&[COUNT]).if_insertion_id(&disposed.insertion_id).send().await?;
        stage.unit(&[COUNT]).if_state_tag(&same_card.state_tag).send().await?;
    }
    assert_eq!(stage.run(&[INCREMENT]).await?, ["00000003 9000"], "nothing that was refused has run");
    Ok(())
}

async fn a_failed_reset_after_a_unit_makes_the_reader_mute(stage: Stage) -> anyhow::Result<()> {
    // The card stays silent for more resets than the broker tries. The unit itself has succeeded.
    let unit = stage.unit(&[VERIFY, &fault(4, 200, 0)]).disposition(Disposition::Reset).send().await?;
    assert_eq!(answers(&unit), ["9000", "9000"]);
    let waits_for_it = refusal(stage.unit(&[PROTECTED])).await?;
    assert!(["CARD_MUTE not_sent", "RESET_FAILED not_sent"].contains(&&*waits_for_it), "{waits_for_it}");
    wait_for(&stage.broker, stage.reader, ReaderState::Mute).await?;
    assert_eq!(refusal(stage.unit(&[PROTECTED])).await?, "CARD_MUTE not_sent");
    Ok(())
}

async fn a_cold_reset_before_a_unit_clears_the_verification(stage: Stage) -> anyhow::Result<()> {
    stage.run(&[VERIFY]).await?;
    let after = stage.unit(&[PROTECTED]).reset_before(CardReset::Cold).send().await?;
    assert_eq!((&*answers(&after)[0], after.was_reset), ("6982", true));
    Ok(())
}

/// The card's resets since `before`, and how many of them cut the power.
fn seen_since(card: &VirtualCard, before: (u64, u64)) -> (u64, u64) {
    let (resets, power_offs) = power(card);
    (resets - before.0, power_offs - before.1)
}

fn power(card: &VirtualCard) -> (u64, u64) {
    let seen = card.seen();
    (seen.resets, seen.power_offs)
}

#[test]
fn the_card_sees_one_reset_per_request_warm_or_cold() -> anyhow::Result<()> {
    tell(async {
        let world = PcscWorld::usual().await?;
        let client = world.broker.client().await?;
        let asked = || unit(&client, READER, &[COUNT]);
        for (unit, resets, power_offs) in [
            (asked(), 0, 0),
            (asked().disposition(Disposition::Leave), 0, 0),
            (asked().reset_before(CardReset::Warm), 1, 0),
            (asked().disposition(Disposition::Reset), 1, 0),
            (asked().reset_before(CardReset::Cold), 1, 1),
            (asked().disposition(Disposition::Unpower), 1, 1),
            (asked().reset_before(CardReset::Cold).disposition(Disposition::Reset), 2, 1),
        ] {
            let before = power(&world.card);
            let shown = format!("{unit:?}");
            unit.send().await?;
            // A due reset comes before the next unit, so this ends the check.
            asked().send().await?;
            assert_eq!(seen_since(&world.card, before), (resets, power_offs), "{shown}");
        }
        Ok(())
    })
}

#[test]
fn a_session_ending_with_unpower_cuts_the_power() -> anyhow::Result<()> {
    tell(async {
        let world = PcscWorld::usual().await?;
        let stub = stub(&world.broker).await?;
        for in_order in [true, false] {
            let before = power(&world.card);
            let open = SessionOpen { disposition: WireDisposition::Unpower.into(), ..opening(READER) };
            let mut session = Conversation::open(&stub, open).await?;
            assert_eq!(session.run(&[VERIFY]).await, "1: 9000");
            if in_order {
                assert_eq!(session.close().await, ["over: OK"]);
            } else {
                session.reset();
                assert!(world.card.wait_until(LONG, |seen| seen.resets > before.0), "nobody asked, and it was reset");
            }
            assert_eq!(seen_since(&world.card, before), (1, 1), "in order: {in_order}");
            let mut next = Conversation::open(&stub, opening(READER)).await?;
            assert_eq!(next.run(&[PROTECTED]).await, "1: 6982");
            assert_eq!(next.close().await, ["over: OK"]);
        }
        Ok(())
    })
}
