//! Answers that are longer than there is room for, and cards that never stop offering.

use super::*;

#[test]
fn a_card_that_never_stops_offering_is_stopped_after_256_fetches() {
    let mut script = vec![("00CA010000", "6101")];
    script.extend(std::iter::repeat_n(("00C0000001", "AA 6101"), 256));
    let told = play(&[command("00CA010000")], Protocol::T1, &script);
    assert_eq!((told.stop, told.delivery), (Some(Reason::ResponseTooLarge), Some(Delivery::Executed)));
    assert_eq!(told.partial.unwrap().len(), 2 * 256 + " 6101".len());
}

#[test]
fn the_256th_fetch_is_not_repeated_with_another_length() {
    let mut script = vec![("00A40400", "6101")];
    script.extend(std::iter::repeat_n(("00C0000001", "6101"), 255));
    script.push(("00C0000001", "6C02"));
    let told = play(&[command("00A40400")], Protocol::T1, &script);
    assert_eq!((told.stop, told.results.len()), (Some(Reason::ResponseTooLarge), 0));
    assert_eq!(told.partial.as_deref(), Some(" 6101"));
}

#[test]
fn answers_that_would_not_fit_are_not_asked_for() {
    let commands = vec![command("00B00000 00 0000"); 20];
    let answer = format!("{} 9000", "AA".repeat(65_536));
    let script = vec![("00B00000 00 0000", &*answer); 15];
    let told = play(&commands, Protocol::T1, &script);
    assert_eq!((told.results.len(), told.stop, told.delivery), (15, TOO_LARGE, Some(Delivery::NotSent)));
}

const TOO_LARGE: Option<Reason> = Some(Reason::ResponseTooLarge);

#[test]
fn a_command_whose_answer_does_not_fit_has_run_if_it_was_answered() {
    let mut commands = vec![command("00B00000 00 0000"); 15];
    commands.extend([command("00B00000 00 C000"), command("00CA01000A")]);
    // 16 bytes are left of the room: 15 × 65,536 + 0xC000.
    let (answer, fills) = (format!("{} 9000", "AA".repeat(65_536)), format!("{} 9000", "AA".repeat(0xBFF0)));
    let mut script = vec![("00B00000 00 0000", &*answer); 15];
    script.extend([("00B00000 00 C000", &*fills), ("00CA01000A", "BBBB 61FF")]);
    let told = play(&commands, Protocol::T1, &script);
    assert_eq!((told.results.len(), told.stop, told.delivery), (16, TOO_LARGE, Some(Delivery::Executed)));
    assert_eq!(told.partial.as_deref(), Some("BBBB 61FF"));
}

#[test]
fn a_command_whose_length_was_wrong_has_not_run_if_there_is_no_room() {
    let mut commands = vec![command("00B00000 00 0000"); 15];
    commands.extend([command("00B00000 00 C000"), command("00B0000001")]);
    let (answer, fills) = (format!("{} 9000", "AA".repeat(65_536)), format!("{} 9000", "AA".repeat(0xBFF0)));
    let mut script = vec![("00B00000 00 0000", &*answer); 15];
    script.extend([("00B00000 00 C000", &*fills), ("00B0000001", "6CFF")]);
    let told = play(&commands, Protocol::T1, &script);
    assert_eq!((told.stop, told.delivery, told.partial), (TOO_LARGE, Some(Delivery::NotSent), None));
}
