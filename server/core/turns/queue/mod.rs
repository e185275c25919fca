//! The queue of one reader, pure: turns go round the callers, first come first served within a caller. No clock and no I/O:
//! times are arguments. To push, pop or remove an item costs O(log n); what looks at many items says its own cost.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
    time::Instant,
};

/// Names one waiting item. Chosen by whoever pushes it, growing from item to item.
pub type RequestNumber = u64;

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
    entries: HashMap<RequestNumber, Entry<C, T>>,
    /// The callers with something waiting, each under the number of its place in the round.
    round: BTreeMap<u64, C>,
    /// For the same callers and for `served`, the place and the tickets. No set is empty.
    callers: HashMap<C, (u64, BTreeSet<RequestNumber>)>,
    /// Who had the last turn. It is not in the round before the next one.
    served: Option<C>,
    deadlines: BTreeSet<(Instant, RequestNumber)>,
    last_place: u64,
}

/// One of a caller's items, seen from outside.
#[derive(Debug, PartialEq, Eq)]
pub struct Place<'a, T> {
    /// How many turns come before its own, as the queue is now.
    pub turns_ahead: usize,
    /// When it expires.
    pub deadline: Instant,
    /// The item.
    pub item: &'a T,
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
    pub fn push(&mut self, ticket: RequestNumber, caller: C, deadline: Instant, item: T) -> Result<(), (T, Full)> {
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
    pub fn pop(&mut self) -> Option<(RequestNumber, T)> {
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
    pub fn remove(&mut self, ticket: RequestNumber) -> Option<T> {
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

    /// Takes out all items that satisfy `condition`, in order of arrival. O(n + taken · log n).
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

    /// What waits of one caller, in the order of its turns. O(callers + items of the caller).
    pub fn of_caller(&self, caller: &C) -> Vec<Place<'_, T>> {
        let Some((place, own)) = self.callers.get(caller) else { return Vec::new() };
        // By another caller's last item that comes before one of these: how many callers there are of that kind. The
        // caller's item number k comes after k of its own, and after the first k of another caller, or the first k + 1
        // of one that is earlier in the round.
        let mut reaching = vec![0; own.len() + 1];
        let mut ahead = 0;
        for (_, (other, tickets)) in self.callers.iter().filter(|(other, _)| *other != caller) {
            let is_earlier = usize::from(other < place);
            ahead += is_earlier;
            reaching[(tickets.len() - is_earlier).min(own.len())] += 1;
        }
        let mut reached = self.callers.len() - 1 - reaching[0];
        let mut places = Vec::with_capacity(own.len());
        for (index, ticket) in own.iter().enumerate() {
            if let Some(entry) = self.entries.get(ticket) {
                places.push(Place { turns_ahead: ahead, deadline: entry.deadline, item: &entry.item });
            }
            ahead += 1 + reached;
            reached -= reaching[index + 1];
        }
        places
    }

    /// All that waits, in the order of the turns. O(n log n).
    pub fn in_order(&self) -> impl Iterator<Item = (RequestNumber, &T)> {
        // Each round serves one item of every caller that has one left.
        let of_caller = |(place, tickets): &(u64, BTreeSet<RequestNumber>)| {
            let place = *place;
            tickets.iter().enumerate().map(move |(round, ticket)| (round, place, *ticket)).collect::<Vec<_>>()
        };
        let mut turns: Vec<_> = self.callers.values().flat_map(of_caller).collect();
        turns.sort_unstable();
        turns.into_iter().filter_map(|(_, _, ticket)| Some((ticket, &self.entries.get(&ticket)?.item)))
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

    fn join_round(&mut self, caller: C, tickets: BTreeSet<RequestNumber>) {
        self.last_place += 1;
        self.round.insert(self.last_place, caller);
        self.callers.insert(caller, (self.last_place, tickets));
    }
}

#[cfg(test)]
mod tests;
