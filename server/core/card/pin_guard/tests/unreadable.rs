//! Bytes that are not an APDU: their refusal by the PIN guard, and their effect on its stored values.

use super::*;

#[test]
fn unreadable_bytes_present_everything_after_their_header() {
    for instruction in ["20", "21", "24", "25", "26", "27", "28", "29", "2C", "2D"] {
        for class in ["00", "0C", "10", "80", "A0"] {
            let unreadable = format!("{class}{instruction}0080 04 3939");
            let mut reader = Reader::usual();
            reader.sends("00A40400 02 A001", "9000").sends(&unreadable, "63C2");
            assert!(reader.refuses(&unreadable), "{unreadable}");
            assert!(reader.view.is_raised());
            for another in ["03 3939", "04 393900", "02 3939", "04 3838"] {
                assert!(!reader.refuses(&format!("{class}{instruction}0080 {another}")), "{another}");
            }
            assert!(!reader.refuses(&format!("{class}{instruction}0081 04 3939")), "another PIN");
            reader.sends("00A40400 02 B001", "9000");
            assert!(!reader.refuses(&unreadable), "another application");
            reader.sends("00A40400 02 A001", "9000");
            assert!(reader.refuses(&unreadable), "the same again");
        }
    }
    let mut reader = Reader::usual();
    for unrelated in ["00200080 FF", "002000", "00B00080 04 3939", "FF200080 04 3939"] {
        reader.sends(unrelated, "63C2").sends(unrelated, "63C1");
    }
}

#[test]
fn unreadable_bytes_need_permission_for_the_last_try() {
    let mut reader = Reader::new(false, true);
    reader.sends(WRONG, "63C1");
    assert_eq!(reader.refusal("00200080 04 3939", false), Some(Reason::PinLastTry));
    assert_eq!(reader.refusal("00200080 04 3939", true), None);
    assert_eq!(reader.refusal("002C0080 04 3939", false), None, "an unblocking code restores tries");
    reader.sends("00200080 04 3838", "63C1");
    assert_eq!(reader.refusal(OTHER, false), Some(Reason::PinLastTry), "the selection is still certain");
}

#[test]
fn unreadable_bytes_that_succeed_forget_all_values() {
    for (unreadable, answer) in [("00200080 04 3939", "9000"), ("00DA0080 04 3939", "9000"), ("00", "6105")] {
        let mut reader = Reader::usual();
        reader.sends(WRONG, "63C2").sends(unreadable, answer);
        assert!(!reader.refuses(WRONG), "{unreadable}");
        reader.reset();
        assert!(!reader.refuses(WRONG), "{unreadable}");
    }
    let mut reader = Reader::usual();
    reader.sends(WRONG, "63C2").sends("00DA0080 04 3939", "6700");
    assert!(!reader.refuses(WRONG), "the selection is uncertain");
    reader.reset();
    assert!(reader.refuses(WRONG), "it did not run");
}

#[test]
fn a_value_that_began_in_a_chain_is_not_compared() {
    let mut reader = Reader::usual();
    for _ in 0..2 {
        reader.sends("10200080 01 39", "9000").sends("00200080 04 3939", "63C2");
    }
}
