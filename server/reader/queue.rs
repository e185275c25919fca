//! The queue of one reader, pure: turns go round the callers, first come first served within a caller. No clock and no I/O:
//! times are arguments. Every operation costs O(log n).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
    time::Instant,
};

/// Names one waiting item. Chosen by whoever pushes it, growing from item to item.
pub type Ticket = u64;

/// How many items may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of one caller.
    pub per_caller: usize,
    /// Of all callers together.
    pub per_reader: usize,
}

/// Which limit an item would break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// [`Limits::per_caller`].
    #[error(
        "this caller already has {0} requests waiting for the reader, the most allowed: retry when some are answered"
    )]
    Caller(usize),
    /// [`Limits::per_reader`].
    #[error("{0} requests already wait for the reader, the most allowed: retry later")]
    Reader(usize),
}

/// Items of type `T` that wait for their turn, each with its caller `C`.
pub struct Queue<C, T> {
    limits: Limits,
    entries: HashMap<Ticket, Entry<C, T>>,
    /// The callers with something waiting, each under the number of its place in the round.
    round: BTreeMap<u64, C>,
    /// For the same callers and for `served`, the place and the tickets. No set is empty.
    callers: HashMap<C, (u64, BTreeSet<Ticket>)>,
    /// Who had the last turn. It is not in the round before the next one.
    served: Option<C>,
    deadlines: BTreeSet<(Instant, Ticket)>,
    last_place: u64,
}

/// The place of the caller that was served last: behind all others.
const BEHIND_ALL: u64 = u64::MAX;

struct Entry<C, T> {
    caller: C,
    deadline: Instant,
    item: T,
}

impl<C: Copy + Eq + Hash, T> Queue<C, T> {
    /// An empty queue.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: HashMap::new(),
            round: BTreeMap::new(),
            callers: HashMap::new(),
            served: None,
            deadlines: BTreeSet::new(),
            last_place: 0,
        }
    }

    /// How many items wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Lets `item` wait for its turn until `deadline`.
    ///
    /// # Errors
    /// The item and the limit that it would break.
    pub fn push(&mut self, ticket: Ticket, caller: C, deadline: Instant, item: T) -> Result<(), (T, Full)> {
        if self.entries.len() >= self.limits.per_reader {
            return Err((item, Full::Reader(self.limits.per_reader)));
        }
        match self.callers.get_mut(&caller) {
            Some((_, tickets)) if tickets.len() >= self.limits.per_caller => {
                return Err((item, Full::Caller(self.limits.per_caller)));
            }
            Some((_, tickets)) => {
                tickets.insert(ticket);
            }
            None if self.served == Some(caller) => {
                self.callers.insert(caller, (BEHIND_ALL, BTreeSet::from([ticket])));
            }
            None => self.join_round(caller, BTreeSet::from([ticket])),
        }
        self.deadlines.insert((deadline, ticket));
        self.entries.insert(ticket, Entry { caller, deadline, item });
        Ok(())
    }

    /// Takes the item whose turn it is; the turn before is over. The caller of that one goes to the end of the round now and not
    /// earlier: those who had their turn before it have asked again in the meantime, and whoever pipelines must not overtake them.
    pub fn pop(&mut self) -> Option<(Ticket, T)> {
        if let Some(served) = self.served.take()
            && let Some((_, tickets)) = self.callers.remove(&served)
        {
            self.join_round(served, tickets);
        }
        let (_, caller) = self.round.pop_first()?;
        let (place, tickets) = self.callers.get_mut(&caller)?;
        *place = BEHIND_ALL;
        let ticket = tickets.pop_first()?;
        if tickets.is_empty() {
            self.callers.remove(&caller);
        }
        self.served = Some(caller);
        let entry = self.entries.remove(&ticket)?;
        self.deadlines.remove(&(entry.deadline, ticket));
        Some((ticket, entry.item))
    }

    /// Takes one item out, wherever it waits.
    pub fn remove(&mut self, ticket: Ticket) -> Option<T> {
        let entry = self.entries.remove(&ticket)?;
        self.deadlines.remove(&(entry.deadline, ticket));
        if let Some((place, tickets)) = self.callers.get_mut(&entry.caller) {
            tickets.remove(&ticket);
            if tickets.is_empty() {
                self.round.remove(place);
                self.callers.remove(&entry.caller);
            }
        }
        Some(entry.item)
    }

    /// Takes out all items that satisfy `condition`, in order of arrival.
    pub fn remove_if(&mut self, condition: impl Fn(&T) -> bool) -> Vec<T> {
        let mut tickets: Vec<_> =
            self.entries.iter().filter(|(_, entry)| condition(&entry.item)).map(|(&ticket, _)| ticket).collect();
        tickets.sort_unstable();
        tickets.into_iter().filter_map(|ticket| self.remove(ticket)).collect()
    }

    /// How many callers wait.
    pub fn callers(&self) -> usize {
        self.callers.len()
    }

    /// How many turns come before an item's; `None` if it does not wait. O(callers + items of its caller).
    pub fn turns_ahead(&self, ticket: Ticket) -> Option<usize> {
        let entry = self.entries.get(&ticket)?;
        let (place, tickets) = self.callers.get(&entry.caller)?;
        let own = tickets.range(..ticket).count();
        let others = self.callers.iter().filter(|(caller, _)| **caller != entry.caller);
        let before = others.map(|(_, (other, tickets))| tickets.len().min(own + usize::from(other < place)));
        Some(own + before.sum::<usize>())
    }

    /// All that waits.
    pub fn iter(&self) -> impl Iterator<Item = (Ticket, &T)> {
        self.entries.iter().map(|(&ticket, entry)| (ticket, &entry.item))
    }

    /// Takes out one item whose deadline has come.
    pub fn pop_expired(&mut self, now: Instant) -> Option<T> {
        let &(deadline, ticket) = self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.remove(ticket)
    }

    /// When the next item expires.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    fn join_round(&mut self, caller: C, tickets: BTreeSet<Ticket>) {
        self.last_place += 1;
        self.round.insert(self.last_place, caller);
        self.callers.insert(caller, (self.last_place, tickets));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMITS: Limits = Limits { per_caller: 1000, per_reader: 2000 };

    fn queue(items: &[(Ticket, char)]) -> (Queue<char, Ticket>, Instant) {
        let now = Instant::now();
        let mut queue = Queue::new(LIMITS);
        for &(ticket, caller) in items {
            queue.push(ticket, caller, now + Duration::from_secs(ticket), ticket).unwrap();
        }
        (queue, now)
    }

    fn drain(queue: &mut Queue<char, Ticket>) -> Vec<Ticket> {
        std::iter::from_fn(|| queue.pop()).map(|(_, item)| item).collect()
    }

    #[test]
    fn turns_go_round_the_callers_and_keep_the_order_of_each() {
        let (mut queue, _) = queue(&[(1, 'a'), (2, 'a'), (3, 'a'), (4, 'b'), (5, 'c'), (6, 'b')]);
        assert_eq!(drain(&mut queue), [1, 4, 5, 2, 6, 3]);
        assert!(queue.is_empty() && queue.next_deadline().is_none());
    }

    #[test]
    fn a_caller_that_asks_again_after_its_turn_comes_after_those_who_wait() {
        let (mut queue, now) = queue(&[(1, 'a'), (2, 'b'), (3, 'c')]);
        assert_eq!(queue.pop(), Some((1, 1)));
        queue.push(4, 'a', now, 4).unwrap();
        assert_eq!(drain(&mut queue), [2, 3, 4]);
    }

    #[test]
    fn a_caller_that_pipelines_does_not_overtake_one_that_asks_again_after_its_turn() {
        let (mut queue, now) = queue(&[(1, 'a'), (2, 'a'), (3, 'a'), (4, 'b')]);
        let first: Vec<_> = (0..3).filter_map(|_| queue.pop()).map(|(_, item)| item).collect();
        assert_eq!(first, [1, 4, 2]);
        queue.push(5, 'b', now, 5).unwrap();
        assert_eq!((queue.turns_ahead(5), queue.turns_ahead(3), queue.callers()), (Some(0), Some(1), 2));
        assert_eq!(drain(&mut queue), [5, 3]);
    }

    #[test]
    fn a_thousand_requests_of_one_do_not_delay_the_others() {
        let items: Vec<_> = (0..1000).map(|ticket| (ticket, 'a')).chain((1000..1007).zip('b'..='h')).collect();
        let (mut queue, _) = queue(&items);
        let first: Vec<_> = (0..8).filter_map(|_| queue.pop()).map(|(_, item)| item).collect();
        assert_eq!(first, [0, 1000, 1001, 1002, 1003, 1004, 1005, 1006]);
    }

    #[test]
    fn what_was_taken_out_is_neither_served_nor_counted() {
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
    fn both_limits_hold_and_hand_the_item_back() {
        let now = Instant::now();
        let mut queue = Queue::new(Limits { per_caller: 2, per_reader: 3 });
        for (ticket, caller) in [(1, 'a'), (2, 'a')] {
            queue.push(ticket, caller, now, ticket).unwrap();
        }
        assert_eq!(queue.push(3, 'a', now, 3), Err((3, Full::Caller(2))));
        queue.push(4, 'b', now, 4).unwrap();
        assert_eq!(queue.push(5, 'c', now, 5), Err((5, Full::Reader(3))));
        assert_eq!(queue.pop(), Some((1, 1)));
        assert_eq!(queue.push(6, 'a', now, 6), Ok(()));
    }

    #[test]
    fn the_turns_ahead_are_those_that_come_before() {
        let (mut queue, _) = queue(&[(1, 'a'), (2, 'a'), (3, 'a'), (4, 'b'), (5, 'c'), (6, 'b')]);
        let ahead: Vec<_> = (1..=6).map(|ticket| (queue.turns_ahead(ticket).unwrap(), ticket)).collect();
        let mut by_turn = ahead.clone();
        by_turn.sort_unstable();
        assert_eq!(by_turn.iter().map(|(turns, _)| *turns).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(by_turn.iter().map(|(_, ticket)| *ticket).collect::<Vec<_>>(), drain(&mut queue));
        assert_eq!((queue.turns_ahead(1), queue.callers()), (None, 0));
    }

    #[test]
    fn items_can_be_taken_out_by_what_they_are() {
        let (mut queue, _) = queue(&[(1, 'a'), (2, 'b'), (3, 'a'), (4, 'c')]);
        assert_eq!(queue.remove_if(|item| item % 2 == 0), [2, 4]);
        assert_eq!(drain(&mut queue), [1, 3]);
    }
}
