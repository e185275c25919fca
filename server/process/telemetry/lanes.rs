//! The waiting log lines: two lanes with a shared limit in bytes, the audit trail's first.

use std::collections::VecDeque;

/// Maximum bytes of all waiting lines together. Ordinary lines use at most half of them.
pub(super) const CAPACITY: usize = 2 << 20;

/// Maximum bytes of one write, except for a single longer line: a new audit record waits for no more. A pipe takes a
/// write of this size as a whole or not at all, so the end of the process cuts no line.
const BATCH_BYTES: usize = 4096;

/// The overhead of a line: its own entry, and that of a gap after it.
const ENTRY_BYTES: usize = 64;

/// An upper limit of the bytes of a gap's record.
const GAP_BYTES: usize = 256;

/// The lane of a waiting line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// The audit trail, and panics. Written first and dropped last: ordinary lines are dropped for its lines.
    Audit,
    /// All lines outside of the audit trail.
    Ordinary,
}

/// A line or a gap on its way to the sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// A line, with its line break.
    Line(Box<[u8]>),
    /// The number of lines that were lost at this position.
    Gap(u64),
}

/// The waiting lines. None is lost without a count: every pushed line is taken, or is part of a gap that is taken.
#[derive(Debug)]
pub(super) struct Lanes {
    /// Maximum bytes of all lines together.
    capacity: usize,
    audit: Queue,
    ordinary: Queue,
    /// The number of lines that were lost so far, whether the log tells it already or not.
    lost_lines: u64,
}

/// One lane, with its oldest line first.
#[derive(Debug, Default)]
struct Queue {
    /// There is at most one gap between two lines, before the first, or after the last.
    entries: VecDeque<Entry>,
    /// The bytes of the lines, with their overhead.
    bytes: usize,
}

impl Entry {
    /// The number of lines of the entry.
    pub(super) fn lines(&self) -> u64 {
        match self {
            Self::Line(_) => 1,
            Self::Gap(lines) => *lines,
        }
    }

    /// The maximum bytes to write for the entry.
    fn written_bytes(&self) -> usize {
        match self {
            Self::Line(line) => line.len(),
            Self::Gap(_) => GAP_BYTES,
        }
    }
}

impl Lanes {
    /// Creates empty lanes for `capacity` bytes.
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, audit: Queue::default(), ordinary: Queue::default(), lost_lines: 0 }
    }

    /// Returns whether neither a line nor a gap waits.
    pub(super) fn is_empty(&self) -> bool {
        self.audit.entries.is_empty() && self.ordinary.entries.is_empty()
    }

    /// The number of lines that were lost so far.
    pub(super) fn lost_lines(&self) -> u64 {
        self.lost_lines
    }

    /// Adds a line, or counts it as lost if there is no room. For an audit line the oldest ordinary lines are dropped.
    pub(super) fn push(&mut self, lane: Lane, line: &[u8]) {
        let bytes = line.len() + ENTRY_BYTES;
        let (fits, queue) = match lane {
            Lane::Audit => {
                let room = self.capacity.checked_sub(self.audit.bytes + bytes);
                if let Some(room) = room {
                    self.lost_lines += self.ordinary.shrink(room);
                }
                (room.is_some(), &mut self.audit)
            }
            Lane::Ordinary => {
                let used = self.ordinary.bytes + bytes;
                (used <= self.capacity / 2 && self.audit.bytes + used <= self.capacity, &mut self.ordinary)
            }
        };
        if fits {
            queue.bytes += bytes;
            queue.entries.push_back(Entry::Line(line.into()));
        } else {
            queue.on_lost();
            self.lost_lines += 1;
        }
    }

    /// Takes the next batch, audit records first; it is empty if nothing waits.
    pub(super) fn take(&mut self) -> Vec<(Lane, Entry)> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for lane in [Lane::Audit, Lane::Ordinary] {
            let queue = self.queue(lane);
            while let Some(next) = queue.entries.front() {
                bytes += next.written_bytes();
                if bytes > BATCH_BYTES && !batch.is_empty() {
                    return batch;
                }
                batch.extend(queue.pop().map(|entry| (lane, entry)));
            }
        }
        batch
    }

    /// Counts entries that were taken and not written as lost, before all waiting lines.
    pub(super) fn on_write_failed(&mut self, unwritten: &[(Lane, Entry)]) {
        for lane in [Lane::Audit, Lane::Ordinary] {
            let lost = unwritten.iter().filter(|(of, _)| *of == lane).map(|(_, entry)| entry.lines()).sum();
            self.queue(lane).add_gap_in_front(lost);
        }
        let lines = unwritten.iter().filter(|(_, entry)| matches!(entry, Entry::Line(_))).count();
        self.lost_lines += lines as u64;
    }

    /// Drops all waiting lines; the gaps in their positions remain.
    pub(super) fn drop_lines(&mut self) {
        self.lost_lines += self.audit.shrink(0) + self.ordinary.shrink(0);
    }

    fn queue(&mut self, lane: Lane) -> &mut Queue {
        match lane {
            Lane::Audit => &mut self.audit,
            Lane::Ordinary => &mut self.ordinary,
        }
    }
}

impl Queue {
    /// Counts the newest line as lost.
    fn on_lost(&mut self) {
        match self.entries.back_mut() {
            Some(Entry::Gap(lines)) => *lines += 1,
            _ => self.entries.push_back(Entry::Gap(1)),
        }
    }

    /// Drops the oldest lines until the others use at most `room`. One gap replaces them. Returns the number of dropped
    /// lines.
    fn shrink(&mut self, room: usize) -> u64 {
        let (mut lost, mut dropped) = (0, 0);
        while self.bytes > room
            && let Some(entry) = self.pop()
        {
            lost += entry.lines();
            dropped += u64::from(matches!(entry, Entry::Line(_)));
        }
        self.add_gap_in_front(lost);
        dropped
    }

    /// Counts `lost` lines in front of the first one.
    fn add_gap_in_front(&mut self, lost: u64) {
        match self.entries.front_mut() {
            _ if lost == 0 => {}
            Some(Entry::Gap(lines)) => *lines += lost,
            _ => self.entries.push_front(Entry::Gap(lost)),
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
