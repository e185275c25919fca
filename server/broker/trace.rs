//! An operator's trace: its admission, the events from the recorders, and then the live ones.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use cardbroker_core::{
    error::{Failure, Reason},
    journal::{Batch, Origin, TraceLevel},
    policy::{ReaderNames, rule::Operation},
};

use super::{Broker, not_found};
use crate::{
    journal::JournalHandle,
    policy::audit,
    registry::READER_PREFIX,
    trace::{MAX_TRACERS, MAX_TRACERS_PER_USER, RunningTracer, TooManyTracers, TraceItem, TraceRequest, Tracer},
};

/// A trace that runs. Dropping it ends the trace.
pub struct Trace {
    tracer: Tracer,
    /// The readers whose recorders were not read yet.
    recorders: VecDeque<(Arc<ReaderNames>, JournalHandle)>,
    /// The most events from one recorder.
    recorded: usize,
    /// Present if the trace shows data. Its drop records the end.
    _audited: Option<Audited>,
}

/// A trace whose begin and end go into the audit trail.
struct Audited {
    origin: Arc<Origin>,
    /// The ids of the readers, or `all`.
    readers: String,
}

impl Broker {
    /// Begins a trace for the request `origin`.
    ///
    /// # Errors
    /// [`Reason::ReaderNotFound`] if it names a reader that its caller may not trace, [`Reason::Denied`] if the caller
    /// may trace nothing, or no data, [`Reason::QueueFull`] if too many traces run, of all users or of the caller's.
    pub fn trace(&self, origin: Arc<Origin>, request: TraceRequest) -> Result<Trace, Failure> {
        let needed = request.level.needs();
        for id in &request.filter.readers {
            self.check_trace(&origin, id, request.level)?;
        }
        let list = self.visible_readers(&origin.caller, needed).list();
        if request.filter.readers.is_empty() {
            needed.iter().try_for_each(|operation| self.check_anywhere(&origin, *operation))?;
        }
        let too_many = |too_many| {
            let message = match too_many {
                TooManyTracers::OfUser => {
                    format!("{MAX_TRACERS_PER_USER} traces of your user run at the same time: end one of them")
                }
                TooManyTracers::OfAll => {
                    format!("{MAX_TRACERS} traces run at the same time: end one of them, or try again later")
                }
            };
            Failure::not_sent(Reason::QueueFull, message)
        };
        let (level, recorded) = (request.level, request.recorded);
        let readers = request.filter.readers.join(", ");
        let tracer = self.hub.begin(Arc::clone(&origin), request, Instant::now()).map_err(too_many)?;
        let audited = (level == TraceLevel::Data).then(|| Audited::begin(origin, readers));
        // After the begin, so that no event is between those of the recorder and the live ones.
        let journals = list.iter().filter(|view| recorded > 0 && tracer.concerns(&view.names)).filter_map(|view| {
            let handle = self.readers.routes.borrow().get(&*view.name).cloned()?;
            Some((Arc::clone(&view.names), handle.journal().clone()))
        });
        let recorders = journals.collect();
        Ok(Trace { tracer, recorders, recorded, _audited: audited })
    }

    /// The traces that show events of this reader, the oldest first.
    pub fn tracers_at(&self, reader: &ReaderNames) -> Vec<RunningTracer> {
        self.hub.tracers_at(reader)
    }

    /// Checks that the caller may trace the reader with this id.
    fn check_trace(&self, origin: &Arc<Origin>, id: &str, level: TraceLevel) -> Result<(), Failure> {
        let name = format!("{READER_PREFIX}{id}");
        let (.., access) = self.approach(&name, Arc::clone(origin), Operation::Trace, Vec::new())?;
        access.check_operations().map_err(|_| not_found())?;
        match level {
            TraceLevel::Headers => Ok(()),
            TraceLevel::Data => access.check(Operation::TraceData),
        }
    }
}

impl Trace {
    /// How much of commands the trace shows.
    pub fn level(&self) -> TraceLevel {
        self.tracer.level()
    }

    /// Returns the next events. Cancel-safe.
    pub async fn next(&mut self) -> Batch<Arc<TraceItem>> {
        match self.from_recorders() {
            Some(batch) => batch,
            None => self.tracer.next().await,
        }
    }

    /// The events from the next recorder that has some; `None` after the last one.
    pub fn from_recorders(&mut self) -> Option<Batch<Arc<TraceItem>>> {
        while let Some((reader, journal)) = self.recorders.pop_front() {
            let read = |journal: &_| self.tracer.recorded(&reader, journal, self.recorded, Instant::now());
            let items = journal.read(read);
            if !items.is_empty() {
                return Some(Batch { missed: 0, items });
            }
        }
        self.tracer.end_of_recorded();
        None
    }
}

impl Audited {
    fn begin(origin: Arc<Origin>, readers: String) -> Self {
        let readers = if readers.is_empty() { "all".to_owned() } else { readers };
        audit::data_trace_began(&origin, &readers);
        Self { origin, readers }
    }
}

impl Drop for Audited {
    fn drop(&mut self) {
        audit::data_trace_ended(&self.origin, &self.readers);
    }
}
