//! `Transmit`: validates the request, converts it to a unit, and converts the outcome to the response.

use std::ops::RangeInclusive;

use cardbroker_core::{
    card::unit::{UnitOutcome, UnitRequest},
    error::Failure,
    turns::turn::Disposition,
};
use cardbroker_proto::v1::{TransmitRequest, TransmitResponse};

use super::convert::{disposition, results, turn_request, unit_commands, unit_stop};

const REQUEST_ID_BYTES: RangeInclusive<usize> = 16..=64;

/// Converts a request to its unit, and its `request_id` if set.
///
/// # Errors
/// [`Reason::InvalidRequest`](cardbroker_core::error::Reason::InvalidRequest) naming the field.
pub(super) fn unit_request(request: TransmitRequest) -> Result<(UnitRequest, Option<Vec<u8>>), Failure> {
    let id = Some(request.request_id).filter(|id| !id.is_empty());
    if id.as_ref().is_some_and(|id| !REQUEST_ID_BYTES.contains(&id.len())) {
        return Err(Failure::invalid("request_id", "must have 16 to 64 bytes, 128 of the bits random"));
    }
    let unit = UnitRequest {
        commands: unit_commands("commands", request.commands)?,
        turn: turn_request("turn", request.turn)?,
        disposition: disposition("disposition", request.disposition, Disposition::Leave)?,
    };
    Ok((unit, id))
}

/// Returns the response for a unit at `reader` with at least one answered command.
pub(super) fn response(outcome: UnitOutcome, replayed: bool, reader: &str) -> TransmitResponse {
    TransmitResponse {
        results: results(outcome.results),
        stopped: outcome.stopped.map(|stop| unit_stop(&stop, reader)),
        insertion_id: outcome.insertion_id,
        state_tag: outcome.state_tag,
        queue_duration: outcome.queue_duration.try_into().ok(),
        card_duration: outcome.card_duration.try_into().ok(),
        was_reset: outcome.reset_before_unit,
        replayed,
    }
}

#[cfg(test)]
mod tests {
    use cardbroker_proto::v1::{ApduCommand, Command, command::Action};

    use super::*;

    mod walk;

    #[test]
    fn a_request_id_has_16_to_64_bytes() {
        let apdu = ApduCommand { bytes: vec![0x00, 0xA4, 0x00, 0x00], ..ApduCommand::default() };
        let command = Command { action: Some(Action::Apdu(apdu)), ..Command::default() };
        let read = |bytes| {
            let (request_id, commands) = (vec![7; bytes], vec![command.clone()]);
            unit_request(TransmitRequest { request_id, commands, ..TransmitRequest::default() })
        };
        for bytes in [15, 65] {
            assert_eq!(read(bytes).unwrap_err().field(), Some("request_id"));
        }
        assert_eq!(read(16).unwrap().1, Some(vec![7; 16]));
        assert_eq!(read(0).unwrap().1, None);
    }
}
