//! The processors of a thread, and this machine's cost of passing work from one thread to another.

use std::{io, sync::mpsc, thread, time::Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::samples::{Samples, nanoseconds};

/// The processors that this thread may use.
///
/// # Errors
/// An error of the operating system.
pub(crate) fn usable() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|processor| set.is_set(*processor)).collect())
}

/// Confines this thread, and those that it starts from now on, to one processor.
///
/// # Errors
/// An error of the operating system.
pub(crate) fn confine(processor: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(processor);
    Ok(sched_setaffinity(None, &set)?)
}

/// The times, `count` of them, until a thread that waits on the processor `to` receives a byte from a thread on `from`.
///
/// # Errors
/// An error of the operating system.
pub(crate) fn hand_overs(from: usize, to: usize, count: u32) -> io::Result<Samples> {
    let (sender, receiver) = mpsc::sync_channel::<Instant>(1);
    let (ready, wait) = mpsc::sync_channel(1);
    let waiter = thread::Builder::new().name("waiter".into()).spawn(move || -> io::Result<Samples> {
        confine(to)?;
        let mut times = Vec::new();
        // If this thread does not wait, the other one has ended with an error.
        while ready.send(()).is_ok() {
            let Ok(sent) = receiver.recv() else { break };
            times.push(nanoseconds(sent.elapsed()));
        }
        Ok(times.into_iter().collect())
    })?;
    let sender = thread::Builder::new().name("sender".into()).spawn(move || -> io::Result<()> {
        confine(from)?;
        for _ in 0..count {
            if wait.recv().is_err() || sender.send(Instant::now()).is_err() {
                break;
            }
        }
        Ok(())
    })?;
    let panicked = |_| io::Error::other("a thread has panicked");
    sender.join().map_err(panicked)??;
    waiter.join().map_err(panicked)?
}
