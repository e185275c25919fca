//! The queue of one reader: turns go round the callers, first come first served within a caller. Times are arguments.
//! To push, pop or remove an item costs O(log n); functions over many items state their cost.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
    time::Instant,
};

/// The number of a waiting item. The pusher chooses it, larger from item to item.
pub type RequestNumber = u64;

/// The maximum numbers of waiting items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum items of one caller.
    pub per_caller: usize,
    /// Maximum items of all callers together.
    pub per_reader: usize,
}

/// The limit that an item would exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The caller's limit, the value of [`Limits::per_caller`].
    #[error(
        "this caller already has {0} requests waiting for the reader, the most allowed: retry when some are answered"
    )]
    Caller(usize),
    /// The reader's limit, the value of [`Limits::per_reader`].
    #[error("{0} requests already wait for the reader, the most allowed: retry later")]
    Reader(usize),
}

/// Items of type `T` that wait for their turn, each with its caller `C`.
pub struct Queue<C, T> {
    /// The limits that [`Queue::push`] checks. Never change.
    limits: Limits,
    /// The waiting items by their numbers.
    entries: HashMap<RequestNumber, Entry<C, T>>,
    /// The callers with waiting items, except `served`, each under its number in the round. The lowest is next.
    round: BTreeMap<u64, C>,
    /// For the same callers and for `served`, the number in the round and the items. No set is empty.
    callers: HashMap<C, (u64, BTreeSet<RequestNumber>)>,
    /// The caller of the last turn. It is not in the round before the next turn. `None` before the first turn, and
    /// after a [`Queue::pop`] of an empty queue.
    served: Option<C>,
    /// The ends of the waits of all items, the earliest first.
    deadlines: BTreeSet<(Instant, RequestNumber)>,
    /// The latest number in the round that a caller got. It only grows.
    last_place: u64,
}

/// The position of one waiting item of a caller.
#[derive(Debug, PartialEq, Eq)]
pub struct Place<'a, T> {
    /// The number of turns before its own, as of now.
    pub turns_ahead: usize,
    /// The end of the item's wait.
    pub deadline: Instant,
    /// The waiting item of the caller.
    pub item: &'a T,
}

/// The number in the round of the caller that was served last: behind all others.
const BEHIND_ALL: u64 = u64::MAX;

/// One waiting item with its terms.
struct Entry<C, T> {
    /// The caller in whose place of the round the item waits.
    caller: C,
    /// The end of the item's wait. [`Queue::pop_expired`] returns the item after it.
    deadline: Instant,
    /// The value that was pushed, returned when it leaves the queue.
    item: T,
}

impl<C: Copy + Eq + Hash, T> Queue<C, T> {
    /// Creates an empty queue with these limits.
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

    /// The number of waiting items.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no item of any caller waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds `item`, which waits for its turn until `deadline`.
    ///
    /// # Errors
    /// The item and the limit that it would exceed.
    pub fn push(&mut self, number: RequestNumber, caller: C, deadline: Instant, item: T) -> Result<(), (T, Full)> {
        if self.entries.len() >= self.limits.per_reader {
            return Err((item, Full::Reader(self.limits.per_reader)));
        }
        match self.callers.get_mut(&caller) {
            Some((_, numbers)) if numbers.len() >= self.limits.per_caller => {
                return Err((item, Full::Caller(self.limits.per_caller)));
            }
            Some((_, numbers)) => {
                numbers.insert(number);
            }
            None if self.served == Some(caller) => {
                self.callers.insert(caller, (BEHIND_ALL, BTreeSet::from([number])));
            }
            None => self.join_round(caller, BTreeSet::from([number])),
        }
        self.deadlines.insert((deadline, number));
        self.entries.insert(number, Entry { caller, deadline, item });
        Ok(())
    }

    /// Removes and returns the next item; the previous turn is over. The caller of that turn goes to the end of the
    /// round now and not earlier: callers served before it have queued again in the meantime, and a caller that
    /// pipelines must not overtake them.
    pub fn pop(&mut self) -> Option<(RequestNumber, T)> {
        if let Some(served) = self.served.take()
            && let Some((_, numbers)) = self.callers.remove(&served)
        {
            self.join_round(served, numbers);
        }
        let (_, caller) = self.round.pop_first()?;
        let (place, numbers) = self.callers.get_mut(&caller)?;
        *place = BEHIND_ALL;
        let number = numbers.pop_first()?;
        if numbers.is_empty() {
            self.callers.remove(&caller);
        }
        self.served = Some(caller);
        let entry = self.entries.remove(&number)?;
        self.deadlines.remove(&(entry.deadline, number));
        Some((number, entry.item))
    }

    /// Removes and returns one item, at any position.
    pub fn remove(&mut self, number: RequestNumber) -> Option<T> {
        let entry = self.entries.remove(&number)?;
        self.deadlines.remove(&(entry.deadline, number));
        if let Some((place, numbers)) = self.callers.get_mut(&entry.caller) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.round.remove(place);
                self.callers.remove(&entry.caller);
            }
        }
        Some(entry.item)
    }

    /// Removes and returns all items that satisfy `condition`, in order of arrival. O(n + removed · log n).
    pub fn remove_if(&mut self, condition: impl Fn(&T) -> bool) -> Vec<T> {
        let mut numbers: Vec<_> =
            self.entries.iter().filter(|(_, entry)| condition(&entry.item)).map(|(&number, _)| number).collect();
        numbers.sort_unstable();
        numbers.into_iter().filter_map(|number| self.remove(number)).collect()
    }

    /// The number of waiting callers.
    pub fn callers(&self) -> usize {
        self.callers.len()
    }

    /// The waiting items of one caller, in the order of their turns. O(callers + items of the caller).
    pub fn of_caller(&self, caller: &C) -> Vec<Place<'_, T>> {
        let Some((place, own)) = self.callers.get(caller) else { return Vec::new() };
        // `reaching[k]`: the number of other callers whose last item that precedes one of these precedes item k. The
        // caller's item number k comes after k of its own, and after the first k of another caller, or the first k + 1
        // of one that is earlier in the round.
        let mut reaching = vec![0; own.len() + 1];
        let mut ahead = 0;
        for (_, (other, numbers)) in self.callers.iter().filter(|(other, _)| *other != caller) {
            let is_earlier = usize::from(other < place);
            ahead += is_earlier;
            reaching[(numbers.len() - is_earlier).min(own.len())] += 1;
        }
        let mut reached = self.callers.len() - 1 - reaching[0];
        let mut places = Vec::with_capacity(own.len());
        for (index, number) in own.iter().enumerate() {
            if let Some(entry) = self.entries.get(number) {
                places.push(Place { turns_ahead: ahead, deadline: entry.deadline, item: &entry.item });
            }
            ahead += 1 + reached;
            reached -= reaching[index + 1];
        }
        places
    }

    /// All waiting items, in the order of their turns. O(n log n).
    pub fn in_order(&self) -> impl Iterator<Item = (RequestNumber, &T)> {
        // Each round serves one item of every caller that has one left.
        let of_caller = |(place, numbers): &(u64, BTreeSet<RequestNumber>)| {
            let place = *place;
            numbers.iter().enumerate().map(move |(round, number)| (round, place, *number)).collect::<Vec<_>>()
        };
        let mut turns: Vec<_> = self.callers.values().flat_map(of_caller).collect();
        turns.sort_unstable();
        turns.into_iter().filter_map(|(_, _, number)| Some((number, &self.entries.get(&number)?.item)))
    }

    /// Removes and returns one item whose deadline has passed.
    pub fn pop_expired(&mut self, now: Instant) -> Option<T> {
        let &(deadline, number) = self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.remove(number)
    }

    /// When the next item expires; `None` if nothing waits.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    fn join_round(&mut self, caller: C, numbers: BTreeSet<RequestNumber>) {
        self.last_place += 1;
        self.round.insert(self.last_place, caller);
        self.callers.insert(caller, (self.last_place, numbers));
    }
}

#[cfg(test)]
mod tests;
