//! Which readers the list shows, and in which order.

use std::{
    cmp::{Ordering, Reverse},
    time::SystemTime,
};

use super::model::{Reader, Snapshot};

/// The orders of the list. Each but the first begins with the largest; equal readers stay in the order of their names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Name,
    Held,
    Waiting,
    LongestWait,
    Turns,
    P99Wait,
    Incident,
}

impl Sort {
    /// The next order; after the last one comes the first.
    pub(super) fn next(self) -> Self {
        match self {
            Self::Name => Self::Held,
            Self::Held => Self::Waiting,
            Self::Waiting => Self::LongestWait,
            Self::LongestWait => Self::Turns,
            Self::Turns => Self::P99Wait,
            Self::P99Wait => Self::Incident,
            Self::Incident => Self::Name,
        }
    }

    /// The words after "by" above the list.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Held => "time held",
            Self::Waiting => "waiting",
            Self::LongestWait => "longest wait",
            Self::Turns => "turns/s",
            Self::P99Wait => "p99 wait",
            Self::Incident => "last incident",
        }
    }

    fn compare(self, a: &Reader, b: &Reader, now: SystemTime) -> Ordering {
        match self {
            Self::Name => Ordering::Equal,
            Self::Held => largest_first(a, b, |reader| reader.held(now)),
            Self::Waiting => largest_first(a, b, |reader| reader.waiter_count),
            Self::LongestWait => largest_first(a, b, |reader| reader.longest_wait(now)),
            Self::Turns => {
                let turns = |reader: &Reader| reader.figures.turns_per_second.unwrap_or_default();
                turns(b).total_cmp(&turns(a))
            }
            Self::P99Wait => largest_first(a, b, |reader| reader.figures.p99_wait),
            Self::Incident => largest_first(a, b, |reader| reader.incidents.first().and_then(|incident| incident.time)),
        }
    }
}

fn largest_first<T: Ord>(a: &Reader, b: &Reader, of: impl Fn(&Reader) -> T) -> Ordering {
    Reverse(of(a)).cmp(&Reverse(of(b)))
}

/// The readers that fit the filter, in order.
pub(super) fn listed<'a>(snapshot: &'a Snapshot, filter: &str, sort: Sort, now: SystemTime) -> Vec<&'a Reader> {
    let filter = filter.to_lowercase();
    let mut readers: Vec<_> = snapshot.readers.iter().filter(|reader| fits(reader, &filter)).collect();
    readers.sort_by(|a, b| sort.compare(a, b, now));
    readers
}

/// Whether a reader's name, state, holder or a waiter contains the filter, which is in small letters.
fn fits(reader: &Reader, filter: &str) -> bool {
    let contains = |text: &str| text.to_lowercase().contains(filter);
    contains(&reader.id)
        || contains(&reader.display_name)
        || contains(&reader.state)
        || reader.holder.as_ref().is_some_and(|holder| contains(&holder.caller.short()))
        || reader.waiters.iter().any(|waiter| contains(&waiter.caller.short()))
}
