//! The lines that wait to be written: two lanes in one bounded room, the audit trail's first. Decides only.

use std::{collections::VecDeque, mem};

/// Bytes that all waiting lines may take together. Ordinary lines take at most half of them.
pub(super) const CAPACITY: usize = 2 << 20;

/// The most bytes that are written at once, but for a single longer line: a new audit record waits for no more.
/// A pipe takes a write of this size whole or not at all, so the end of the process cuts no line.
const BATCH_BYTES: usize = 4096;

/// What a line takes beside its bytes: its own entry, and that of a gap behind it.
const ENTRY_BYTES: usize = 64;

/// More than the record of a gap takes when it is written.
const GAP_BYTES: usize = 256;

/// Where a line waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// The audit trail: is written first, and is lost only when there is no room for any line.
    Audit,
    /// All other lines.
    Ordinary,
}

/// Something to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// A line, with its end.
    Line(Box<[u8]>),
    /// So many lines were lost here.
    Gap(u64),
}

/// The waiting lines. None is lost without a count: every line pushed is taken, or is part of a gap that is taken.
#[derive(Debug)]
pub(super) struct Lanes {
    /// Bytes that all lines may take together.
    capacity: usize,
    audit: Queue,
    ordinary: Queue,
}

/// One lane, oldest first.
#[derive(Debug, Default)]
struct Queue {
    /// At most one gap stands between two lines, before the first, or behind the last.
    entries: VecDeque<Entry>,
    /// What the lines take.
    bytes: usize,
    /// Lines that were taken but could not be written. They are told before the next line.
    unwritten: u64,
}

impl Entry {
    /// How many lines it stands for.
    pub(super) fn lines(&self) -> u64 {
        match self {
            Self::Line(_) => 1,
            Self::Gap(lines) => *lines,
        }
    }

    /// At most so many bytes are written for it.
    fn written_bytes(&self) -> usize {
        match self {
            Self::Line(line) => line.len(),
            Self::Gap(_) => GAP_BYTES,
        }
    }
}

impl Lanes {
    /// No lines, and room for so many bytes.
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, audit: Queue::default(), ordinary: Queue::default() }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.audit.entries.is_empty() && self.ordinary.entries.is_empty()
    }

    /// Adds a line, or counts it as lost where there is no room.
    pub(super) fn push(&mut self, lane: Lane, line: &[u8]) {
        let bytes = line.len() + ENTRY_BYTES;
        let fits = self.audit.bytes + self.ordinary.bytes + bytes <= self.capacity;
        let (queue, fits) = match lane {
            Lane::Audit => (&mut self.audit, fits),
            Lane::Ordinary => {
                let fits = fits && self.ordinary.bytes + bytes <= self.capacity / 2;
                (&mut self.ordinary, fits)
            }
        };
        if fits {
            queue.bytes += bytes;
            queue.entries.push_back(Entry::Line(line.into()));
        } else {
            queue.lose_one();
        }
    }

    /// Takes what is to be written next, audit records first; nothing if nothing waits.
    pub(super) fn take(&mut self) -> Vec<(Lane, Entry)> {
        let (mut batch, mut bytes, mut is_first) = (Vec::new(), 0, true);
        for (lane, queue) in [(Lane::Audit, &mut self.audit), (Lane::Ordinary, &mut self.ordinary)] {
            while let Some(next) = queue.entries.front() {
                bytes += next.written_bytes();
                if bytes > BATCH_BYTES && !is_first {
                    return batch;
                }
                is_first = false;
                let unwritten = mem::take(&mut queue.unwritten);
                batch.extend((unwritten > 0).then_some((lane, Entry::Gap(unwritten))));
                batch.extend(queue.pop().map(|entry| (lane, entry)));
            }
        }
        batch
    }

    /// A batch that was taken could not be written: its lines are lost.
    pub(super) fn failed(&mut self, batch: &[(Lane, Entry)]) {
        for (lane, entry) in batch {
            let queue = match lane {
                Lane::Audit => &mut self.audit,
                Lane::Ordinary => &mut self.ordinary,
            };
            queue.unwritten += entry.lines();
        }
    }

    /// Gives up all that waits: of each lane no more than the count is left.
    pub(super) fn abandon(&mut self) {
        for queue in [&mut self.audit, &mut self.ordinary] {
            let lost = queue.entries.drain(..).map(|entry| entry.lines()).sum();
            queue.bytes = 0;
            queue.entries.extend((lost > 0).then_some(Entry::Gap(lost)));
        }
    }
}

impl Queue {
    fn lose_one(&mut self) {
        match self.entries.back_mut() {
            Some(Entry::Gap(lines)) => *lines += 1,
            _ => self.entries.push_back(Entry::Gap(1)),
        }
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        if let Entry::Line(line) = &entry {
            self.bytes -= line.len() + ENTRY_BYTES;
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests;
