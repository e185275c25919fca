//! The answer `6982`, which a card also gives as long as it wants another secret first.

use super::*;

const FIRST: &str = "00200081 02 3131";
const FIRST_WRONG: &str = "00200081 02 3232";

#[test]
fn a_refusal_for_want_of_another_secret_does_not_count() {
    for (accepted, answer) in [
        (FIRST, "9000"),
        ("00200096 02 0300", "9000"),
        ("0C200081 02 3131", "9000"),
        ("00820001 08 3131313131313131", "9000"),
        ("80820000 08 3131313131313131", "9000"),
        ("0086009B 02 7C00", "7C00 9000"),
        ("00870000 02 7C00", "6104"),
    ] {
        let mut reader = Reader::usual();
        reader.sends(WRONG, "6982").sends(WRONG, "6982");
        assert!(reader.refuses(WRONG), "{accepted}");
        reader.sends(accepted, "6A80").sends(accepted, "6700");
        assert!(reader.refuses(WRONG), "{accepted}: not accepted");
        reader.sends(accepted, answer);
        assert!(!reader.refuses(WRONG), "{accepted}: it may be right");
        reader.sends(WRONG, "63C2").sends(accepted, answer);
        assert!(reader.refuses(WRONG), "{accepted}: certainly wrong");
    }
}

#[test]
fn a_wrong_value_after_the_same_secret_costs_two_tries() {
    let rounds: [&[(&str, &str)]; 5] = [
        &[(FIRST, "9000")],
        &[(SELECT, "9000"), (FIRST, "9000")],
        &[(SELECT, "9000"), (FIRST, "9000"), ("00A40200 02 0001", "9000"), ("00B0000000", "9000")],
        &[("00820001 08 3131313131313131", "9000")],
        &[(SELECT, "9000"), (FIRST, "9000"), ("0082009B 08 3131313131313131", "9000"), ("FF00400F 01 00", "9000")],
    ];
    for round in rounds {
        let mut reader = Reader::usual();
        for is_refused in [false, false, true, true] {
            for (command, answer) in round {
                reader.sends(command, answer);
            }
            assert_eq!(reader.refuses(WRONG), is_refused, "{round:?}");
            if !is_refused {
                reader.sends(WRONG, "6982");
            }
            reader.reset();
        }
    }
}

#[test]
fn no_secret_of_openpgp_and_piv_needs_another_one() {
    for application in ["D27600012401", "A000000308"] {
        let select = format!("00A40400 {:02X} {application}", application.len() / 2);
        let mut reader = Reader::usual();
        for is_refused in [false, false, true, true] {
            reader.sends(&select, "9000");
            assert_eq!(reader.refuses("00200083 02 3939"), is_refused, "{application}");
            if !is_refused {
                reader.sends("00200083 02 3939", "6982");
            }
            reader.sends(FIRST, "9000");
        }
    }
}

#[test]
fn a_secret_counts_as_accepted_no_longer_than_the_card_holds_it() {
    for end in [
        (FIRST_WRONG, "63C2"),
        (FIRST_WRONG, "6982"),
        ("00200081 01 31", "6700"),
        ("00A40400 03 A00001", "9000"),
        ("00A40000 02 5015", "9000"),
        ("002A9E9A 01 39", "9000"),
        ("00700000 01", "01 9000"),
        ("0020FF81", "6D00"),
        ("01B00000 01", "00 9000"),
        ("8012000004", "00000001 9000"),
    ] {
        let mut reader = Reader::usual();
        reader.sends(SELECT, "9000").sends(FIRST, "9000").sends(end.0, end.1).sends(SELECT, "9000");
        reader.sends(WRONG, "6982").sends(WRONG, "6982").sends(FIRST, "9000");
        assert!(!reader.refuses(WRONG), "{end:?}");
    }
    for not_accepted in [("00820001 01 31", "6300"), ("00820001 01 31", "6581"), ("0086009B 02 7C00", "9000")] {
        let mut reader = Reader::usual();
        reader.sends(not_accepted.0, not_accepted.1).sends(WRONG, "6982").sends(WRONG, "6982");
        reader.sends(not_accepted.0, "9000");
        assert!(!reader.refuses(WRONG), "{not_accepted:?}");
    }
    let mut reader = Reader::usual();
    reader.sends(FIRST, "9000").sends(WRONG, "6982");
    reader.reset();
    reader.sends(WRONG, "6982");
    assert!(reader.refuses(WRONG), "twice");
    reader.sends(FIRST, "9000");
    assert!(!reader.refuses(WRONG), "once, after the first secret");
    reader.sends(WRONG, "6982");
    assert!(reader.refuses(WRONG));
}
