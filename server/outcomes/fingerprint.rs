//! The fingerprint of a unit: equal for two requests with the same effect on the same reader.

use cardbroker_core::{
    card::unit::{UnitCommand, UnitRequest},
    keyed_hash::{HashKey, Hasher},
    outcomes::Fingerprint,
    slot::ResetKind,
    turns::turn::Disposition,
};

/// Hashes the reader and every part of the request that changes the unit's effect on the card. The conditions of its
/// turn are not included: a repeat may add some.
pub(super) fn fingerprint(key: &HashKey, reader: &str, request: &UnitRequest) -> Fingerprint {
    let mut hasher = key.hasher();
    hasher.part(reader.as_bytes());
    let reset_before = match request.turn.reset_before {
        None => 0,
        Some(ResetKind::Warm) => 1,
        Some(ResetKind::Cold) => 2,
    };
    let disposition = match request.disposition {
        Disposition::Leave => 0,
        Disposition::Reset => 1,
        Disposition::Unpower => 2,
    };
    hasher.part(&[reset_before, disposition]);
    for command in &request.commands {
        add(&mut hasher, command);
    }
    hasher.finish()
}

/// Adds one command: its bytes, its switches and its patterns, each as a part of its own.
fn add(hasher: &mut Hasher, command: &UnitCommand) {
    hasher.part(command.bytes());
    let optional = |byte: Option<u8>| [u8::from(byte.is_some()), byte.unwrap_or_default()];
    let switches = [command.is_raw(), command.allow_last_try, command.allow_known_wrong].map(u8::from);
    let continues = [command.continue_class(), command.continue_instruction].map(optional);
    hasher.part(&[&switches[..], continues.as_flattened(), &[command.stop_rule as u8]].concat());
    let patterns = command.continue_on.iter().map(|pattern| [pattern.value, pattern.mask].map(u16::to_be_bytes));
    hasher.part(patterns.collect::<Vec<_>>().as_flattened().as_flattened());
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cardbroker_core::{
        apdu::{CommandApdu, StatusPattern, StopRule},
        turns::turn::{CardRequirement, TurnRequest},
    };

    use super::*;
    use crate::process::random::hash_key;

    #[test]
    fn every_difference_in_effect_changes_the_fingerprint() {
        let key = hash_key().unwrap();
        let print = |reader, unit: &UnitRequest| fingerprint(&key, reader, unit);
        let bytes = [0x00, 0xA4, 0x00, 0x00];
        let plain = || UnitCommand::from(CommandApdu::parse(bytes).unwrap());
        let with = |change: fn(&mut UnitCommand, StatusPattern)| {
            let mut command = plain();
            change(&mut command, StatusPattern { value: 0x00A4, mask: 0x0000 });
            vec![command]
        };
        let units = [
            vec![],
            vec![plain()],
            vec![plain(), plain()],
            vec![UnitCommand::raw(bytes).unwrap()],
            vec![plain().continue_in(0x00).unwrap()],
            vec![plain().continue_in(0x04).unwrap()],
            with(|command, _| command.continue_instruction = Some(0xC0)),
            with(|command, _| command.allow_last_try = true),
            with(|command, _| command.allow_known_wrong = true),
            with(|command, _| command.stop_rule = StopRule::Sim),
            with(|command, _| command.stop_rule = StopRule::Any),
            with(|command, _| command.stop_rule = StopRule::Only9000),
            with(|command, pattern| command.continue_on = vec![pattern]),
            with(|command, pattern| command.continue_on = vec![pattern; 2]),
        ];
        let turn = |reset_before| TurnRequest {
            reset_before,
            if_insertion_id: None,
            if_state_tag: None,
            if_not_raised: false,
            wait_timeout: Duration::ZERO,
            card: CardRequirement::Required,
        };
        let request = |commands| UnitRequest { commands, turn: turn(None), disposition: Disposition::Leave };
        let requests: Vec<_> = units.into_iter().map(request).collect();
        let mut fingerprints: Vec<_> = requests.iter().map(|unit| print("a", unit)).collect();
        fingerprints.push(print("b", &requests[1]));
        for kind in [ResetKind::Warm, ResetKind::Cold] {
            fingerprints.push(print("a", &UnitRequest { turn: turn(Some(kind)), ..requests[1].clone() }));
        }
        for disposition in [Disposition::Reset, Disposition::Unpower] {
            fingerprints.push(print("a", &UnitRequest { disposition, ..requests[1].clone() }));
        }
        for (number, one) in fingerprints.iter().enumerate() {
            assert_eq!(fingerprints.iter().filter(|other| *other == one).count(), 1, "{number}");
        }
        assert_eq!(print("a", &requests[1].clone()), fingerprints[1]);
    }
}
