//! Limits of answers: the space for the answers of a unit, and the number of GET RESPONSE commands.

use super::*;

#[test]
fn a_unit_stops_after_256_get_responses() {
    let mut script = vec![("00CA010000", "6101")];
    script.extend(std::iter::repeat_n(("00C0000001", "AA 6101"), 256));
    let played = play(&[command("00CA010000")], Protocol::T1, &script);
    assert_eq!((played.stop, played.delivery), (Some(Reason::ResponseTooLarge), Some(Delivery::Executed)));
    assert_eq!(played.partial.unwrap().len(), 2 * 256 + " 6101".len());
}

#[test]
fn the_256th_get_response_is_not_repeated_with_another_length() {
    let mut script = vec![("00A40400", "6101")];
    script.extend(std::iter::repeat_n(("00C0000001", "6101"), 255));
    script.push(("00C0000001", "6C02"));
    let played = play(&[command("00A40400")], Protocol::T1, &script);
    assert_eq!((played.stop, played.results.len()), (Some(Reason::ResponseTooLarge), 0));
    assert_eq!(played.partial.as_deref(), Some(" 6101"));
}

#[test]
fn a_command_without_space_for_its_answer_is_not_sent() {
    let commands = vec![command("00B00000 00 0000"); 20];
    let answer = format!("{} 9000", "AA".repeat(65_536));
    let script = vec![("00B00000 00 0000", &*answer); 15];
    let played = play(&commands, Protocol::T1, &script);
    assert_eq!((played.results.len(), played.stop, played.delivery), (15, TOO_LARGE, Some(Delivery::NotSent)));
}

const TOO_LARGE: Option<Reason> = Some(Reason::ResponseTooLarge);

#[test]
fn without_space_for_the_rest_an_answered_command_has_run() {
    let mut commands = vec![command("00B00000 00 0000"); 15];
    commands.extend([command("00B00000 00 C000"), command("00CA01000A")]);
    // 16 bytes of the space are left after 15 × 65,536 + 0xBFF0 bytes.
    let (answer, fills) = (format!("{} 9000", "AA".repeat(65_536)), format!("{} 9000", "AA".repeat(0xBFF0)));
    let mut script = vec![("00B00000 00 0000", &*answer); 15];
    script.extend([("00B00000 00 C000", &*fills), ("00CA01000A", "BBBB 61FF")]);
    let played = play(&commands, Protocol::T1, &script);
    assert_eq!((played.results.len(), played.stop, played.delivery), (16, TOO_LARGE, Some(Delivery::Executed)));
    assert_eq!(played.partial.as_deref(), Some("BBBB 61FF"));
}

#[test]
fn without_space_after_6cxx_the_command_has_not_run() {
    let mut commands = vec![command("00B00000 00 0000"); 15];
    commands.extend([command("00B00000 00 C000"), command("00B0000001")]);
    let (answer, fills) = (format!("{} 9000", "AA".repeat(65_536)), format!("{} 9000", "AA".repeat(0xBFF0)));
    let mut script = vec![("00B00000 00 0000", &*answer); 15];
    script.extend([("00B00000 00 C000", &*fills), ("00B0000001", "6CFF")]);
    let played = play(&commands, Protocol::T1, &script);
    assert_eq!((played.stop, played.delivery, played.partial), (TOO_LARGE, Some(Delivery::NotSent), None));
}
