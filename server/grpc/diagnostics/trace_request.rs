//! Reads the request of a trace.

use cardbroker_core::{
    error::Failure,
    journal::{CallerFilter, MAX_RECORDED, TraceFilter, TraceKind, TraceLevel},
};
use cardbroker_proto::diagnostics::v1::{self as wire, TraceEventKind};

use crate::{registry::READER_PREFIX, trace::TraceRequest};

/// The most entries of one list in a request.
const MAX_ENTRIES: usize = 64;

/// The most bytes of a name in a request.
const MAX_NAME_BYTES: usize = 256;

/// Reads a request.
///
/// # Errors
/// [`Reason::InvalidRequest`](cardbroker_core::error::Reason::InvalidRequest) naming the field.
pub(super) fn read(request: wire::TraceRequest) -> Result<TraceRequest, Failure> {
    let wire::TraceRequest { readers, callers, kinds, level, recorded_count } = request;
    let is_short = |field, length: usize| match length {
        0..=MAX_ENTRIES => Ok(()),
        _ => Err(Failure::invalid(field, format!("{length} entries: at most {MAX_ENTRIES}"))),
    };
    is_short("readers", readers.len())?;
    is_short("callers", callers.len())?;
    is_short("kinds", kinds.len())?;
    let readers = readers.iter().enumerate().map(|(index, name)| reader_id(index, name));
    let callers = callers.into_iter().enumerate().map(|(index, filter)| caller_filter(index, filter));
    let kinds = kinds.into_iter().enumerate().map(|(index, kind)| trace_kind(index, kind));
    let filter = TraceFilter {
        readers: readers.collect::<Result<_, _>>()?,
        callers: callers.collect::<Result<_, _>>()?,
        kinds: kinds.collect::<Result<_, _>>()?,
    };
    let level = match wire::TraceLevel::try_from(level) {
        Ok(wire::TraceLevel::Unspecified | wire::TraceLevel::Headers) => TraceLevel::Headers,
        Ok(wire::TraceLevel::Data) => TraceLevel::Data,
        Err(_) => {
            let message = format!("{level} is not a TraceLevel: use one of the contract's values");
            return Err(Failure::invalid("level", message));
        }
    };
    let recorded = usize::try_from(recorded_count).ok().filter(|count| *count <= MAX_RECORDED);
    let recorded = recorded.ok_or_else(|| Failure::invalid("recorded_count", "out of range: 0–256"))?;
    Ok(TraceRequest { filter, level, recorded })
}

fn reader_id(index: usize, name: &str) -> Result<String, Failure> {
    let id = name.strip_prefix(READER_PREFIX).filter(|id| !id.is_empty() && name.len() <= MAX_NAME_BYTES);
    let invalid = || Failure::invalid(format!("readers[{index}]"), "give the name of a reader, readers/{id}");
    id.map(str::to_owned).ok_or_else(invalid)
}

fn caller_filter(index: usize, filter: wire::CallerFilter) -> Result<CallerFilter, Failure> {
    let wire::CallerFilter { principal, process_id, connection } = filter;
    let at = |field: &str, message: &'static str| Failure::invalid(format!("callers[{index}].{field}"), message);
    if principal.len() > MAX_NAME_BYTES {
        return Err(at("principal", "longer than 256 bytes"));
    }
    let pid = process_id.map(u32::try_from).transpose().map_err(|_| at("process_id", "is negative"))?;
    let connection = u64::try_from(connection).map_err(|_| at("connection", "is negative"))?;
    Ok(CallerFilter {
        principal: Some(principal).filter(|principal| !principal.is_empty()),
        pid,
        connection: Some(connection).filter(|connection| *connection > 0),
    })
}

fn trace_kind(index: usize, kind: i32) -> Result<TraceKind, Failure> {
    Ok(match TraceEventKind::try_from(kind) {
        Ok(TraceEventKind::Turn) => TraceKind::Turn,
        Ok(TraceEventKind::Command) => TraceKind::Command,
        Ok(TraceEventKind::Reset) => TraceKind::Reset,
        Ok(TraceEventKind::Insertion) => TraceKind::Insertion,
        Ok(TraceEventKind::Denial) => TraceKind::Denial,
        Ok(TraceEventKind::NotServed) => TraceKind::NotServed,
        Ok(TraceEventKind::Unspecified) | Err(_) => {
            let message = format!("{kind} is not a TraceEventKind: use one of the contract's values");
            return Err(Failure::invalid(format!("kinds[{index}]"), message));
        }
    })
}

#[cfg(test)]
mod tests {
    use cardbroker_core::error::Reason;

    use super::*;

    /// The field of the mistake in a request, if it has one.
    fn mistake(request: wire::TraceRequest) -> Option<String> {
        let failure = read(request).err()?;
        assert_eq!(failure.reason, Reason::InvalidRequest);
        failure.field().map(str::to_owned)
    }

    #[test]
    fn a_mistake_names_its_field() {
        let request = wire::TraceRequest::default;
        let readers = |readers: &[&str]| readers.iter().map(ToString::to_string).collect::<Vec<_>>();
        let caller = wire::CallerFilter { principal: "user 7".into(), ..wire::CallerFilter::default() };
        let callers = |caller: wire::CallerFilter| vec![wire::CallerFilter::default(), caller];
        for (request, field) in [
            (request(), None),
            (wire::TraceRequest { readers: readers(&["readers/a"]), ..request() }, None),
            (wire::TraceRequest { readers: readers(&["readers/a", "b"]), ..request() }, Some("readers[1]")),
            (wire::TraceRequest { readers: readers(&["readers/a"; 65]), ..request() }, Some("readers")),
            (wire::TraceRequest { callers: vec![caller.clone(); 64], ..request() }, None),
            (wire::TraceRequest { callers: vec![caller.clone(); 65], ..request() }, Some("callers")),
            (
                wire::TraceRequest {
                    callers: callers(wire::CallerFilter { principal: "x".repeat(257), ..caller.clone() }),
                    ..request()
                },
                Some("callers[1].principal"),
            ),
            (
                wire::TraceRequest {
                    callers: callers(wire::CallerFilter { process_id: Some(-1), ..caller.clone() }),
                    ..request()
                },
                Some("callers[1].process_id"),
            ),
            (
                wire::TraceRequest { callers: callers(wire::CallerFilter { connection: -1, ..caller }), ..request() },
                Some("callers[1].connection"),
            ),
            (wire::TraceRequest { kinds: vec![1, 6], ..request() }, None),
            (wire::TraceRequest { kinds: vec![1, 0], ..request() }, Some("kinds[1]")),
            (wire::TraceRequest { kinds: vec![7], ..request() }, Some("kinds[0]")),
            (wire::TraceRequest { kinds: vec![1; 65], ..request() }, Some("kinds")),
            (wire::TraceRequest { level: 2, ..request() }, None),
            (wire::TraceRequest { level: 3, ..request() }, Some("level")),
            (wire::TraceRequest { recorded_count: 256, ..request() }, None),
            (wire::TraceRequest { recorded_count: 257, ..request() }, Some("recorded_count")),
            (wire::TraceRequest { recorded_count: -1, ..request() }, Some("recorded_count")),
        ] {
            assert_eq!(mistake(request.clone()).as_deref(), field, "{request:?}");
        }
    }
}
