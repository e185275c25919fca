//! The budgets, in invented times.

use proptest::{collection::vec, prop_assert, test_runner::TestCaseResult};

use super::*;
use crate::properties::{holds, is_broken};

const SECOND: Duration = Duration::from_secs(1);

fn charge(budgets: &mut Budgets<u32>, user: u32, times: u32, now: Instant) -> Vec<Report> {
    (0..times).filter_map(|_| budgets.charge(user, now)).collect()
}

#[test]
fn a_burst_is_free_and_then_twenty_a_second() {
    let (mut budgets, start) = (Budgets::default(), Instant::now());
    assert_eq!(budgets.tokens(&1, start), Tokens::Full);
    charge(&mut budgets, 1, BURST - 1, start);
    assert_eq!(budgets.tokens(&1, start), Tokens::Left(1));
    charge(&mut budgets, 1, 1, start);
    assert_eq!(budgets.tokens(&1, start), Tokens::Empty(INTERVAL));
    assert_eq!(budgets.tokens(&2, start), Tokens::Full, "another user");
    assert_eq!(budgets.tokens(&1, start + INTERVAL), Tokens::Left(1));
    assert_eq!(budgets.tokens(&1, start + SECOND), Tokens::Left(20));
    assert_eq!(budgets.tokens(&1, start + 10 * SECOND), Tokens::Full);
    assert_eq!((budgets.refused(), budgets.pauses()), (200, 1));
}

#[test]
fn a_pause_is_never_longer_than_two_seconds() {
    let (mut budgets, start) = (Budgets::default(), Instant::now());
    charge(&mut budgets, 1, 100_000, start);
    assert_eq!(budgets.tokens(&1, start), Tokens::Empty(LONGEST_PAUSE));
    assert_eq!(budgets.tokens(&1, start + LONGEST_PAUSE), Tokens::Left(1));
}

#[test]
fn a_paused_user_is_reported_once_a_minute() {
    let (mut budgets, start) = (Budgets::default(), Instant::now());
    let first = Report { refused: 200, time: Duration::ZERO };
    assert_eq!(charge(&mut budgets, 1, 500, start), [first]);
    for second in 1..60 {
        assert_eq!(charge(&mut budgets, 1, 100, start + second * SECOND), []);
    }
    let next = Report { refused: 300 + 59 * 100 + 1, time: 60 * SECOND };
    assert_eq!(charge(&mut budgets, 1, 1, start + 60 * SECOND), [next]);
    let later = start + 120 * SECOND;
    assert_eq!(charge(&mut budgets, 1, 199, later), [], "the bucket was full again");
    assert_eq!(charge(&mut budgets, 1, 1, later), [Report { refused: 200, time: Duration::ZERO }]);
}

#[test]
fn full_buckets_are_dropped_and_further_users_share_one() {
    let (mut budgets, start) = (Budgets::default(), Instant::now());
    let most = MAX_BUCKETS as u32;
    for user in 0..2 * most {
        charge(&mut budgets, user, 1, start);
    }
    assert_eq!(budgets.buckets.len(), MAX_BUCKETS);
    assert_eq!(budgets.tokens(&0, start), Tokens::Left(BURST - 1));
    assert_eq!(budgets.tokens(&most, start), Tokens::Empty(LONGEST_PAUSE), "they share one bucket");
    charge(&mut budgets, 3 * most, 1, start + 20 * SECOND);
    assert_eq!(budgets.buckets.len(), 1);
}

/// Reads requests of one user whenever it may, each refused: at most the burst and 20 a second are read; `forgets`
/// plants a fault.
fn play(steps: Vec<(u64, u32)>, forgets: bool) -> TestCaseResult {
    let (mut budgets, start) = (Budgets::default(), Instant::now());
    let (mut now, mut read) = (start, 0);
    for (step, (pause, wanted)) in steps.into_iter().enumerate() {
        now += Duration::from_millis(pause);
        for _ in 0..wanted {
            match budgets.tokens(&1, now) {
                Tokens::Empty(pause) => {
                    prop_assert!(pause > Duration::ZERO && pause <= LONGEST_PAUSE);
                    let after = budgets.tokens(&1, now + pause);
                    prop_assert!(!matches!(after, Tokens::Empty(_)), "a pause ends in time: {after:?}");
                    break;
                }
                Tokens::Left(left) => prop_assert!(left <= BURST),
                Tokens::Full => {}
            }
            read += 1;
            if !forgets || step % 4 > 0 {
                budgets.charge(1, now);
            }
        }
        let most = f64::from(BURST) + f64::from(PER_SECOND) * (now - start).as_secs_f64() + 1.0;
        prop_assert!(f64::from(read) <= most, "{read} were read, at most {most} may be");
    }
    Ok(())
}

#[test]
fn refused_requests_are_limited_over_any_time() {
    let steps = || vec((0_u64..3_000, 0_u32..400), 1..60);
    holds(200, steps(), |steps| play(steps, false));
    is_broken(200, steps(), |steps| play(steps, true), "a charge is forgotten", "were read");
}
