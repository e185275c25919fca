//! The events that wait for one client, bounded in bytes, with an exact count of those that found no room.
//!
//! ```text
//! push ──► queue ──► take: a run of items without a gap inside, and the number that was missed before it
//!   └────► missed     (counted where it happened: before the next item that finds room, or at the end)
//! ```

use std::collections::VecDeque;

/// Items that wait for a client.
#[derive(Debug)]
pub struct Feed<T> {
    /// The most bytes of all items.
    room: usize,
    /// The bytes of all items.
    bytes: usize,
    queue: VecDeque<Waiting<T>>,
    /// The number of items that were missed since the last one of the queue.
    missed: u64,
}

/// An item in the queue.
#[derive(Debug)]
struct Waiting<T> {
    /// The number of items that were missed between the one before and this one.
    missed_before: u64,
    bytes: usize,
    item: T,
}

/// Consecutive items of a feed.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch<T> {
    /// The number of items that were missed before these.
    pub missed: u64,
    /// The items; empty for a gap at the end.
    pub items: Vec<T>,
}

impl<T> Feed<T> {
    /// Creates an empty feed for items of `room` bytes together.
    pub fn new(room: usize) -> Self {
        Self { room, bytes: 0, queue: VecDeque::new(), missed: 0 }
    }

    /// Adds an item of `bytes` bytes, or counts it as missed if there is no room.
    pub fn push(&mut self, item: T, bytes: usize) {
        if self.room - self.bytes < bytes {
            self.missed += 1;
            return;
        }
        self.bytes += bytes;
        let missed_before = std::mem::take(&mut self.missed);
        self.queue.push_back(Waiting { missed_before, bytes, item });
    }

    /// Takes the oldest items, of about `bytes` bytes and at least one; `None` if nothing has happened.
    pub fn take(&mut self, bytes: usize) -> Option<Batch<T>> {
        let Some(first) = self.pop() else {
            let missed = std::mem::take(&mut self.missed);
            return (missed > 0).then_some(Batch { missed, items: Vec::new() });
        };
        let (mut items, mut taken) = (vec![first.item], first.bytes);
        while taken < bytes && self.queue.front().is_some_and(|next| next.missed_before == 0) {
            let Some(next) = self.pop() else { break };
            taken += next.bytes;
            items.push(next.item);
        }
        Some(Batch { missed: first.missed_before, items })
    }

    fn pop(&mut self) -> Option<Waiting<T>> {
        let first = self.queue.pop_front()?;
        self.bytes -= first.bytes;
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prop_assert, prop_assert_eq, test_runner::TestCaseResult};

    use super::*;
    use crate::properties::{holds, is_broken};

    const ROOM: usize = 100;

    #[test]
    fn a_gap_is_counted_where_it_happened() {
        let mut feed = Feed::new(ROOM);
        assert_eq!(feed.take(50), None);
        for item in 0..5 {
            feed.push(item, 40);
        }
        assert_eq!(feed.take(1), Some(Batch { missed: 0, items: vec![0] }));
        feed.push(5, 40);
        feed.push(6, 90);
        assert_eq!(feed.take(1_000), Some(Batch { missed: 0, items: vec![1] }), "a batch has no gap inside");
        assert_eq!(feed.take(1_000), Some(Batch { missed: 3, items: vec![5] }));
        assert_eq!(feed.take(1_000), Some(Batch { missed: 1, items: vec![] }), "a gap at the end counts, too");
        assert_eq!(feed.take(1_000), None);
    }

    /// A client that reads at times. Checks that items and gaps add up; `forgets` plants a fault.
    fn play(steps: Vec<(usize, usize)>, forgets: bool) -> TestCaseResult {
        let (mut feed, mut expected) = (Feed::new(ROOM), 0);
        for (item, (bytes, reads)) in steps.into_iter().enumerate() {
            feed.push(item, bytes);
            if forgets && item % 5 == 4 {
                feed.missed = 0;
            }
            prop_assert!(feed.bytes <= ROOM, "the feed is bounded");
            let batches = (0..reads % 3).map_while(|_| feed.take(30)).collect::<Vec<_>>();
            for Batch { missed, items } in batches {
                expected += missed as usize;
                for item in items {
                    prop_assert_eq!(item, expected, "gaps are exact");
                    expected += 1;
                }
            }
        }
        Ok(())
    }

    #[test]
    fn items_and_gaps_add_up_for_a_slow_client() {
        holds(200, vec((0_usize..60, 0_usize..30), 1..200), |steps| play(steps, false));
        is_broken(200, vec((0_usize..60, 0_usize..30), 1..200), |steps| play(steps, true), "forgets", "gaps are exact");
    }
}
