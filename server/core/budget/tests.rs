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
    assert_eq!(budgets.tokens(&1, start), Tokens::Empty);
    assert_eq!(budgets.tokens(&2, start), Tokens::Full, "another user");
    assert_eq!(budgets.tokens(&1, start + INTERVAL), Tokens::Left(1));
    assert_eq!(budgets.tokens(&1, start + SECOND), Tokens::Left(20));
    assert_eq!(budgets.tokens(&1, start + 10 * SECOND), Tokens::Full);
    assert_eq!((budgets.refused(), budgets.pauses()), (200, 1));
}

#[test]
fn a_user_is_never_short_of_more_than_forty_tokens() {
    let (mut budgets, start) = (Budgets::default(), Instant::now());
    charge(&mut budgets, 1, 100_000, start);
    assert_eq!((budgets.over_budget(), budgets.pauses()), (100_000 - u64::from(BURST), 1));
    assert_eq!(budgets.tokens(&1, start + MAX_DEBT * INTERVAL), Tokens::Empty);
    assert_eq!(budgets.tokens(&1, start + (MAX_DEBT + 1) * INTERVAL), Tokens::Left(1));
}

#[test]
fn the_connections_of_a_user_are_read_one_after_the_other() {
    let (mut budgets, start) = (Budgets::default(), Instant::now());
    charge(&mut budgets, 1, BURST, start);
    charge(&mut budgets, 2, BURST, start);
    for number in 1..=4 {
        assert_eq!(budgets.next_reading(&1, start), number * INTERVAL);
    }
    assert_eq!(budgets.next_reading(&2, start), INTERVAL, "another user");
    assert_eq!(budgets.next_reading(&1, start + SECOND), INTERVAL, "nobody waits any more");
    let last = (0..1_000).map(|_| budgets.next_reading(&1, start + SECOND)).last();
    assert_eq!(last, Some(LONGEST_PAUSE));
}

#[test]
fn a_user_without_tokens_is_reported_once_a_minute() {
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
    assert_eq!(budgets.tokens(&most, start), Tokens::Empty, "they share one bucket");
    charge(&mut budgets, 3 * most, 1, start + 20 * SECOND);
    assert_eq!(budgets.buckets.len(), 1);
}

/// Connections of one user with refused requests, each of which is read as soon as it may be: at most the burst and
/// those of the tokens that come back are read, however many connections there are. `is_alone` plants a fault: each
/// connection is read as if it were the only one.
fn play(steps: Vec<(u64, u32)>, connections: usize, is_alone: bool) -> TestCaseResult {
    let (mut budgets, start) = (Budgets::default(), Instant::now());
    let (mut now, mut read) = (start, 0);
    let mut waits: Vec<Option<Instant>> = vec![None; connections];
    for (pause, wanted) in steps {
        now += Duration::from_millis(pause);
        for wait in &mut waits {
            for _ in 0..wanted {
                match (*wait, budgets.tokens(&1, now)) {
                    (Some(time), _) if time > now => break,
                    (None, Tokens::Empty) => {
                        let pause = if is_alone { INTERVAL } else { budgets.next_reading(&1, now) };
                        prop_assert!(pause > Duration::ZERO && pause <= LONGEST_PAUSE);
                        *wait = Some(now + pause);
                        continue;
                    }
                    (None, Tokens::Left(left)) => prop_assert!(left <= BURST),
                    (Some(_), _) | (None, Tokens::Full) => {}
                }
                *wait = None;
                read += 1;
                budgets.charge(1, now);
            }
        }
        let waiting = connections as f64;
        let most = f64::from(BURST + MAX_DEBT) + f64::from(PER_SECOND) * (now - start).as_secs_f64() + waiting;
        prop_assert!(f64::from(read) <= most, "{read} were read, at most {most} may be");
    }
    Ok(())
}

#[test]
fn refused_requests_are_limited_over_any_time() {
    let steps = || (vec((0_u64..300, 0_u32..400), 1..200), 1_usize..60);
    holds(200, steps(), |(steps, connections)| play(steps, connections, false));
    is_broken(200, steps(), |(steps, connections)| play(steps, connections, true), "all are alone", "were read");
}
