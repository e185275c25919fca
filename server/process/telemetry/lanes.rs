//! The lines that wait to be written: two lanes in one bounded room, the audit trail's first. Decides only.

use std::collections::VecDeque;

/// Bytes that all waiting lines may take together. Ordinary lines take at most half of them.
pub(super) const CAPACITY: usize = 2 << 20;

/// The most bytes that are written at once, except for a single longer line: a new audit record waits for no more.
/// A pipe takes a write of this size whole or not at all, so the end of the process cuts no line.
const BATCH_BYTES: usize = 4096;

/// What a line takes beside its bytes: its own entry, and that of a gap behind it.
const ENTRY_BYTES: usize = 64;

/// More than the record of a gap takes when it is written.
const GAP_BYTES: usize = 256;

/// Where a line waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// The audit trail, and panics. It is written first and drops last: no ordinary line keeps a place that it needs.
    Audit,
    /// All other lines.
    Ordinary,
}

/// A line or a gap on its way to the sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// A line, with its end.
    Line(Box<[u8]>),
    /// The number of lines that were lost at this place.
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
}

impl Entry {
    /// The number of lines it stands for.
    pub(super) fn lines(&self) -> u64 {
        match self {
            Self::Line(_) => 1,
            Self::Gap(lines) => *lines,
        }
    }

    /// The most bytes that are written for it.
    fn written_bytes(&self) -> usize {
        match self {
            Self::Line(line) => line.len(),
            Self::Gap(_) => GAP_BYTES,
        }
    }
}

impl Lanes {
    /// Empty lanes with room for `capacity` bytes.
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, audit: Queue::default(), ordinary: Queue::default() }
    }

    /// Returns whether neither a line nor a gap waits.
    pub(super) fn is_empty(&self) -> bool {
        self.audit.entries.is_empty() && self.ordinary.entries.is_empty()
    }

    /// Adds a line, or counts it as lost if there is no room. An audit line takes the room of the oldest ordinary
    /// lines.
    pub(super) fn push(&mut self, lane: Lane, line: &[u8]) {
        let bytes = line.len() + ENTRY_BYTES;
        let (fits, queue) = match lane {
            Lane::Audit => {
                let room = self.capacity.checked_sub(self.audit.bytes + bytes);
                if let Some(room) = room {
                    self.ordinary.shrink(room);
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

    /// Counts entries that were taken and not written as lost, before all that waits.
    pub(super) fn on_write_failed(&mut self, unwritten: &[(Lane, Entry)]) {
        for lane in [Lane::Audit, Lane::Ordinary] {
            let lost = unwritten.iter().filter(|(of, _)| *of == lane).map(|(_, entry)| entry.lines()).sum();
            self.queue(lane).add_gap_in_front(lost);
        }
    }

    /// Drops all lines that wait; the gaps in their place remain.
    pub(super) fn drop_lines(&mut self) {
        self.audit.shrink(0);
        self.ordinary.shrink(0);
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

    /// Drops the oldest lines until the others take at most `room`. One gap stands in their place.
    fn shrink(&mut self, room: usize) {
        let mut lost = 0;
        while self.bytes > room
            && let Some(entry) = self.pop()
        {
            lost += entry.lines();
        }
        self.add_gap_in_front(lost);
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
