//! Tests of the order of turns, and of the number of turns ahead.

use std::time::Duration;

use super::*;

const LIMITS: Limits = Limits { per_caller: 1000, per_reader: 2000 };

fn queue(items: &[(RequestNumber, char)]) -> (Queue<char, RequestNumber>, Instant) {
    let now = Instant::now();
    let mut queue = Queue::new(LIMITS);
    for &(number, caller) in items {
        queue.push(number, caller, now + Duration::from_secs(number), number).unwrap();
    }
    (queue, now)
}

fn drain(queue: &mut Queue<char, RequestNumber>) -> Vec<RequestNumber> {
    std::iter::from_fn(|| queue.pop()).map(|(_, item)| item).collect()
}

/// The number of turns before an item's, counted one by one.
fn turns_ahead(queue: &Queue<char, RequestNumber>, number: RequestNumber) -> Option<usize> {
    queue.in_order().position(|(other, _)| other == number)
}

#[test]
fn turns_go_round_and_keep_each_callers_order() {
    let (mut queue, _) = queue(&[(1, 'a'), (2, 'a'), (3, 'a'), (4, 'b'), (5, 'c'), (6, 'b')]);
    assert_eq!(drain(&mut queue), [1, 4, 5, 2, 6, 3]);
    assert!(queue.is_empty() && queue.next_deadline().is_none());
}

#[test]
fn a_served_caller_queues_behind_all_waiters() {
    let (mut queue, now) = queue(&[(1, 'a'), (2, 'b'), (3, 'c')]);
    assert_eq!(queue.pop(), Some((1, 1)));
    queue.push(4, 'a', now, 4).unwrap();
    assert_eq!(drain(&mut queue), [2, 3, 4]);
}

#[test]
fn a_pipelining_caller_does_not_overtake_one_that_queues_again() {
    let (mut queue, now) = queue(&[(1, 'a'), (2, 'a'), (3, 'a'), (4, 'b')]);
    let first: Vec<_> = (0..3).filter_map(|_| queue.pop()).map(|(_, item)| item).collect();
    assert_eq!(first, [1, 4, 2]);
    queue.push(5, 'b', now, 5).unwrap();
    assert_eq!((turns_ahead(&queue, 5), turns_ahead(&queue, 3), queue.callers()), (Some(0), Some(1), 2));
    assert_eq!(drain(&mut queue), [5, 3]);
}

#[test]
fn a_thousand_requests_of_one_caller_delay_no_others() {
    let items: Vec<_> = (0..1000).map(|number| (number, 'a')).chain((1000..1007).zip('b'..='h')).collect();
    let (mut queue, _) = queue(&items);
    let first: Vec<_> = (0..8).filter_map(|_| queue.pop()).map(|(_, item)| item).collect();
    assert_eq!(first, [0, 1000, 1001, 1002, 1003, 1004, 1005, 1006]);
}

#[test]
fn a_removed_item_is_neither_served_nor_counted() {
    let (mut queue, _) = queue(&[(1, 'a'), (2, 'b'), (3, 'a')]);
    assert_eq!(queue.remove(1), Some(1));
    assert_eq!(queue.remove(1), None);
    assert_eq!(queue.remove(2), Some(2));
    assert_eq!((queue.len(), drain(&mut queue)), (1, vec![3]));
}

#[test]
fn expired_items_leave_in_the_order_of_their_deadlines() {
    let (mut queue, now) = queue(&[(3, 'a'), (1, 'b'), (2, 'a')]);
    assert_eq!(queue.next_deadline(), Some(now + Duration::from_secs(1)));
    let later = now + Duration::from_secs(2);
    assert_eq!(std::iter::from_fn(|| queue.pop_expired(later)).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(drain(&mut queue), [3]);
}

#[test]
fn both_limits_hold_and_return_the_item() {
    let now = Instant::now();
    let mut queue = Queue::new(Limits { per_caller: 2, per_reader: 3 });
    for (number, caller) in [(1, 'a'), (2, 'a')] {
        queue.push(number, caller, now, number).unwrap();
    }
    assert_eq!(queue.push(3, 'a', now, 3), Err((3, Full::Caller(2))));
    queue.push(4, 'b', now, 4).unwrap();
    assert_eq!(queue.push(5, 'c', now, 5), Err((5, Full::Reader(3))));
    assert_eq!(queue.pop(), Some((1, 1)));
    assert_eq!(queue.push(6, 'a', now, 6), Ok(()));
}

#[test]
fn turns_ahead_counts_the_turns_before_an_item() {
    let (mut queue, _) = queue(&[(1, 'a'), (2, 'a'), (3, 'a'), (4, 'b'), (5, 'c'), (6, 'b')]);
    let ahead: Vec<_> = (1..=6).map(|number| (turns_ahead(&queue, number).unwrap(), number)).collect();
    let mut by_turn = ahead.clone();
    by_turn.sort_unstable();
    assert_eq!(by_turn.iter().map(|(turns, _)| *turns).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(by_turn.iter().map(|(_, number)| *number).collect::<Vec<_>>(), drain(&mut queue));
    assert_eq!((turns_ahead(&queue, 1), queue.callers()), (None, 0));
}

#[test]
fn items_can_be_removed_by_a_condition() {
    let (mut queue, _) = queue(&[(1, 'a'), (2, 'b'), (3, 'a'), (4, 'c')]);
    assert_eq!(queue.remove_if(|item| item % 2 == 0), [2, 4]);
    assert_eq!(drain(&mut queue), [1, 3]);
}

#[test]
fn positions_of_a_caller_match_the_counted_turns_ahead() {
    let items: Vec<(RequestNumber, char)> = (1..).zip("aabacabbdddddaec".chars()).collect();
    let (mut queue, now) = queue(&items);
    loop {
        for caller in 'a'..='f' {
            let own = items.iter().filter(|(number, of)| *of == caller && turns_ahead(&queue, *number).is_some());
            let counted: Vec<_> = own.map(|(number, _)| (turns_ahead(&queue, *number).unwrap(), *number)).collect();
            let places = queue.of_caller(&caller);
            assert!(places.iter().all(|place| place.deadline == now + Duration::from_secs(*place.item)));
            let seen: Vec<_> = places.iter().map(|place| (place.turns_ahead, *place.item)).collect();
            assert_eq!(seen, counted, "{caller}");
        }
        let next = queue.in_order().next().map(|(number, _)| number);
        assert_eq!(queue.pop().map(|(number, _)| number), next);
        if next.is_none() {
            break;
        }
    }
}
