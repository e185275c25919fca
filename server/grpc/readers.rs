//! `ListReaders` and `GetReader`, and the conversion of a reader to the contract's type.

use cardbroker_core::{slot::Protocol, status::State};
use cardbroker_proto::v1::{CardProtocol, GetReaderResponse, ListReadersResponse, Reader, ReaderState};

use super::convert::to_i64;
use crate::{broker::ReaderList, registry::ReaderView};

/// Returns the response with all readers that a caller may see.
pub(super) fn list(list: &ReaderList) -> ListReadersResponse {
    ListReadersResponse { readers: readers(list) }
}

/// Returns the response with one reader.
pub(super) fn get(reader: &ReaderView) -> GetReaderResponse {
    GetReaderResponse { reader: Some(wire_reader(reader)) }
}

/// Converts the readers of a list, ordered by name.
pub(super) fn readers(list: &ReaderList) -> Vec<Reader> {
    list.iter().map(|reader| wire_reader(reader)).collect()
}

/// Converts one reader to the contract's type.
pub(super) fn wire_reader(reader: &ReaderView) -> Reader {
    let status = &reader.status;
    Reader {
        name: reader.name.to_string(),
        display_name: reader.names.display_name.clone(),
        state: wire_state(status.state).into(),
        atr: status.atr.clone(),
        active_protocol: status.protocol.map_or(CardProtocol::Unspecified, wire_protocol).into(),
        insertion_id: status.insertion_id.clone(),
        insertion_count: to_i64(status.insertion_count),
    }
}

/// The name of a state in the contract, without its prefix.
pub(super) fn state_name(state: State) -> &'static str {
    let name = wire_state(state).as_str_name();
    name.strip_prefix("READER_STATE_").unwrap_or(name)
}

fn wire_state(state: State) -> ReaderState {
    match state {
        State::Empty => ReaderState::Empty,
        State::Settling => ReaderState::Settling,
        State::Ready => ReaderState::Ready,
        State::Mute => ReaderState::Mute,
        State::HeldElsewhere => ReaderState::HeldElsewhere,
        State::Unresponsive => ReaderState::Unresponsive,
        State::Unavailable => ReaderState::Unavailable,
    }
}

/// Converts a protocol to the contract's type.
pub(super) fn wire_protocol(protocol: Protocol) -> CardProtocol {
    match protocol {
        Protocol::T0 => CardProtocol::T0,
        Protocol::T1 => CardProtocol::T1,
        Protocol::Raw => CardProtocol::Raw,
    }
}
