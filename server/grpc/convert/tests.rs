//! Tests of refused request fields, and of the field that each refusal names.

use super::*;

const SELECT: &[u8] = &[0x00, 0xA4, 0x00, 0x00];

fn apdu(bytes: &[u8]) -> ApduCommand {
    ApduCommand { bytes: bytes.to_vec(), ..ApduCommand::default() }
}

fn command(apdu: ApduCommand) -> Command {
    Command { action: Some(Action::Apdu(apdu)), ..Command::default() }
}

fn at_fault<T: std::fmt::Debug>(read: Result<T, Failure>) -> String {
    let failure = read.unwrap_err();
    assert_eq!(failure.reason, Reason::InvalidRequest);
    failure.field().unwrap().to_owned()
}

fn pattern(value: i32, mask: Option<i32>) -> StatusWordPattern {
    StatusWordPattern { value, mask }
}

#[test]
fn sixty_four_commands_fit() {
    assert_eq!(unit_commands("commands", vec![command(apdu(SELECT)); 64]).unwrap().len(), 64);
    assert_eq!(at_fault(unit_commands("commands", vec![command(apdu(SELECT)); 65])), "commands");
    assert_eq!(at_fault(unit_commands("commands", Vec::new())), "commands");
}

#[test]
fn every_broken_rule_of_a_command_names_its_field() {
    let second = |broken: Command| at_fault(unit_commands("commands", vec![command(apdu(SELECT)), broken]));
    assert_eq!(second(Command::default()), "commands[1].action");
    assert_eq!(second(command(apdu(&[0x00]))), "commands[1].apdu.bytes");
    assert_eq!(second(command(ApduCommand { raw: true, ..apdu(&[]) })), "commands[1].apdu.bytes");
    for class in [-1, 256, 0x01, 0xFF] {
        let broken = ApduCommand { continue_class: Some(class), ..apdu(SELECT) };
        assert_eq!(second(command(broken)), "commands[1].apdu.continue_class", "{class}");
    }
    for instruction in [-1, 256] {
        let broken = ApduCommand { continue_instruction: instruction, ..apdu(SELECT) };
        assert_eq!(second(command(broken)), "commands[1].apdu.continue_instruction");
    }
    assert_eq!(second(Command { stop_rule: 9, ..command(apdu(SELECT)) }), "commands[1].stop_rule");
    let patterns = |continue_on| Command { continue_on, ..command(apdu(SELECT)) };
    assert_eq!(second(patterns(vec![pattern(0, None); 17])), "commands[1].continue_on");
    for broken in [pattern(0x1_0000, None), pattern(-1, None)] {
        assert_eq!(second(patterns(vec![pattern(0, None), broken])), "commands[1].continue_on[1].value");
    }
    for mask in [0, -1, 0x1_0000] {
        assert_eq!(second(patterns(vec![pattern(0x1234, Some(mask))])), "commands[1].continue_on[0].mask");
    }
}

#[test]
fn unsupported_fields_are_not_implemented() {
    let actions = [
        Action::Control(v1::ControlCommand::default()),
        Action::GetAttribute(v1::GetAttribute::default()),
        Action::SetAttribute(v1::SetAttribute::default()),
        Action::PinPad(v1::PinPadCommand::default()),
    ];
    for action in actions {
        let refused =
            unit_commands("commands", vec![Command { action: Some(action), ..Command::default() }]).unwrap_err();
        assert_eq!(refused.reason, Reason::NotImplemented);
    }
    let without_card = TurnOptions { card: WireRequirement::NotNeeded.into(), ..TurnOptions::default() };
    assert_eq!(turn_request("turn", Some(without_card)).unwrap_err().reason, Reason::NotImplemented);
}

#[test]
fn a_turn_has_the_defaults_of_the_contract() {
    let turn = turn_request("turn", None).unwrap();
    assert_eq!((turn.wait_timeout, turn.card, turn.reset_before), (DEFAULT_WAIT, CardRequirement::Required, None));
    assert_eq!((turn.if_insertion_id, turn.if_state_tag), (None, None));
}

#[test]
fn every_broken_rule_of_a_turn_names_its_field() {
    let broken = |turn| at_fault(turn_request("open.turn", Some(turn)));
    let good = TurnOptions::default;
    assert_eq!(broken(TurnOptions { card: 9, ..good() }), "open.turn.card");
    assert_eq!(broken(TurnOptions { reset_before: 9, ..good() }), "open.turn.reset_before");
    assert_eq!(broken(TurnOptions { if_state_tag: "x".repeat(129), ..good() }), "open.turn.if_state_tag");
    assert_eq!(broken(TurnOptions { if_insertion_id: "x".repeat(129), ..good() }), "open.turn.if_insertion_id");
    for (seconds, nanos) in [(-1, 0), (0, -1), (24 * 3600 + 1, 0)] {
        let wait_timeout = Some(prost_types::Duration { seconds, nanos });
        assert_eq!(broken(TurnOptions { wait_timeout, ..good() }), "open.turn.wait_timeout");
    }
}

#[test]
fn a_disposition_has_the_default_of_its_turn() {
    for default in [Disposition::Leave, Disposition::Reset] {
        assert_eq!(disposition("disposition", 0, default), Ok(default));
        assert_eq!(disposition("disposition", 3, default), Ok(Disposition::Unpower));
    }
    assert_eq!(at_fault(disposition("disposition", 9, Disposition::Leave)), "disposition");
}
