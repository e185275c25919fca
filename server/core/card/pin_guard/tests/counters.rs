//! The counters of a card: references and names that share one, the number of tries, the memory by permission.

use super::*;

const OPENPGP: &str = "D27600012401";
const WHOLE: &str = "D276000124010304000612345678 0000";

fn select(name: &str) -> String {
    let digits: String = name.split_whitespace().collect();
    format!("00A40400 {:02X} {digits}", digits.len() / 2)
}

fn fci(name: &str) -> String {
    let digits: String = name.split_whitespace().collect();
    let length = digits.len() / 2;
    format!("6F{:02X} 84{length:02X} {digits} 9000", length + 2)
}

/// The answer of a PIV card to SELECT.
const PIV_ANSWER: &str = "6111 4F06 000010000100 7907 4F05 A000000308 9000";

#[test]
fn pw1_of_openpgp_is_one_counter_with_two_references() {
    let mut reader = Reader::new(true, true);
    reader.sends(&select(OPENPGP), "9000").sends("00200081 06 393939393939", "63C2");
    for reference in [
        "00200081 06 393939393939",
        "00200082 06 393939393939",
        "00240081 0C 393939393939 313131313131",
        "00240082 0C 393939393939 323131313131",
    ] {
        assert!(reader.refuses(reference), "{reference}");
    }
    for another in ["00200083 06 393939393939", "00200080 06 393939393939", "002C0081 0C 393939393939 313131313131"] {
        assert!(!reader.refuses(another), "{another}");
    }
    reader.sends("00200082 06 383838383838", "63C1");
    assert_eq!(reader.refusal("00200081 06 373737373737", false), Some(Reason::PinLastTry));
    reader.sends("00200081 06 373737373737", "9000");
    assert!(!reader.refuses("00200082 06 393939393939"), "a success is for both");
    let mut elsewhere = Reader::usual();
    elsewhere.sends(&select("D27600012402"), "9000").sends("00200081 02 3939", "63C2");
    assert!(!elsewhere.refuses("00200082 02 3939"));
}

#[test]
fn the_unblocking_code_of_piv_is_one_counter() {
    let mut reader = Reader::usual();
    let change = "00240081 10 3939393939393939 3131313131313131";
    let unblock = "002C0080 10 3939393939393939 3232323232323232";
    reader.sends(&select("A000000308"), PIV_ANSWER).sends(unblock, "63C2");
    assert!(reader.refuses(change) && reader.refuses(unblock));
    assert!(reader.refuses("002C0080 10 3939393939393939 3132323232323232"), "with any new PIN");
    assert!(!reader.refuses("00240080 10 3939393939393939 3131313131313131"), "the PIN");
    assert!(!reader.refuses("00240081 10 3939393939393938 3131313131313131"));
    let mut elsewhere = Reader::usual();
    elsewhere.sends(&select("A000000309"), "9000").sends(unblock, "63C2");
    assert!(!elsewhere.refuses(change));
}

#[test]
fn names_that_the_card_confirms_to_be_one_application_are_joined() {
    let confirmed = (fci(WHOLE), fci(WHOLE));
    let piv_whole = "A000000308000010000100";
    for (one, other, answers) in [
        (OPENPGP, WHOLE, confirmed.clone()),
        (OPENPGP, WHOLE, (fci(WHOLE), "9000".into())),
        ("D276", OPENPGP, confirmed),
        ("A000000308", piv_whole, (PIV_ANSWER.into(), PIV_ANSWER.into())),
        ("A00000030800001000", piv_whole, (PIV_ANSWER.into(), "9000".into())),
        ("A00000030800001000", "A000000308", ("6108 4F06 000010000100 9000".into(), PIV_ANSWER.into())),
        ("A000000308", piv_whole, ("610D 4F0B A000000308000010000100 9000".into(), PIV_ANSWER.into())),
        ("A00000030800001000", piv_whole, ("6106 4F04 00001000 9000".into(), "6106 4F04 00001000 9000".into())),
    ] {
        let mut reader = Reader::usual();
        reader.sends(&select(one), &answers.0).sends(WRONG, "63C2").sends(&select(other), &answers.1);
        assert!(reader.refuses(WRONG), "{one} {other} {answers:?}");
        reader.sends(&select("A00099"), "9000");
        assert!(!reader.refuses(WRONG), "{one} {other}: elsewhere");
        reader.sends(&select(one).replace("A40400", "A4040C"), "9000");
        assert!(reader.refuses(WRONG), "{one} {other}: the same name again, without an answer");
    }
}

#[test]
fn an_unconfirmed_name_is_joined_as_soon_as_it_is_confirmed() {
    let mut reader = Reader::usual();
    reader.sends(&select(OPENPGP), "9000").sends("00200082 02 3939", "63C2");
    reader.sends(&select(WHOLE), "9000");
    assert!(!reader.refuses("00200081 02 3939"), "it may be another application");
    reader.sends(&select(OPENPGP), &fci(WHOLE));
    assert!(reader.refuses("00200081 02 3939"));
    reader.sends(&select(WHOLE), "9000");
    assert!(reader.refuses("00200081 02 3939"));
    reader.sends(&select(OPENPGP).replace("A40400", "A40402"), &fci(&WHOLE.replace("5678", "5679")));
    assert!(!reader.refuses("00200081 02 3939"), "the next application of that name");
    reader.guard.forget();
    reader.view.reset();
    reader.sends(&select(OPENPGP), "9000").sends("00200082 02 3939", "63C2").sends(&select(WHOLE), "9000");
    assert!(!reader.refuses("00200081 02 3939"), "another card");
}

#[test]
fn an_uncertain_selection_is_one_place_until_it_may_change() {
    for uncertain in ["00A40402 03 A00001", "0CA40400 03 A00001", "00E00000 02 6200"] {
        let mut reader = Reader::usual();
        reader.sends(uncertain, "9000").sends(WRONG, "63C2").sends("00B0000000", "9000");
        assert!(reader.refuses(WRONG), "{uncertain}");
        reader.sends(uncertain, "9000");
        assert!(!reader.refuses(WRONG), "{uncertain}: it may be another file");
        reader.sends(WRONG, "63C2");
        reader.reset();
        assert!(!reader.refuses(WRONG), "{uncertain}");
        reader.sends(uncertain, "9000");
        assert!(!reader.refuses(WRONG), "{uncertain}: after a reset");
    }
}

#[test]
fn a_global_reference_is_one_counter_in_all_files_of_an_application() {
    let (global, specific, none) = ("00200001 02 3939", "00200081 02 3939", "00200000 02 3939");
    let below = ["00A40100 02 5015", "00A40000 02 5016", "00A40200 02 0001", "00A40300", "00A40102 02 5015"];
    for before in [SELECT, "00A40000 02 3F00"] {
        let mut reader = Reader::usual();
        reader.sends(before, "9000");
        for presented in [global, specific, none] {
            reader.sends(presented, "63C2");
        }
        for file in &below[..4] {
            reader.sends(file, "9000");
            assert!(reader.refuses(global) && reader.refuses("00240001 04 39393838"), "{before} {file}");
            assert!(!reader.refuses("00200002 02 3939"), "{before} {file}: another one");
        }
        assert!(!reader.refuses(specific) && !reader.refuses(none), "{before}: another file");
        reader.sends("00A40000 02 5015", "9000").sends("00200001 02 3838", "9000").sends(before, "9000");
        assert!(!reader.refuses(global), "{before}: right in one file, forgotten for all");
        reader.sends(global, "63C2").sends("00A40400 03 A00002", "9000");
        assert!(!reader.refuses(global), "{before}: another application may be another program");
        reader.sends(before, "9000").sends("00A40402 03 A00001", "9000");
        assert!(!reader.refuses(global), "{before}: the application is not certain");
    }
    let mut reader = Reader::usual();
    reader.sends(SELECT, "9000").sends(global, "63C2").sends(below[4], "9000");
    assert!(reader.refuses(global), "the application is still certain");
    reader.sends("00A40400 02 B000", "6F00");
    assert!(!reader.refuses(global), "the application may have ended");
    let mut keeps = Reader::new(true, true);
    keeps.sends(SELECT, "9000").sends("00200001", "63C1").sends(below[0], "9000");
    assert_eq!(keeps.refusal(global, false), Some(Reason::PinLastTry));
}

#[test]
fn a_select_with_the_same_answer_leads_to_one_place() {
    for (select, answer, other) in [
        ("00A40400 03 A00001", "6F04 8402A000 9000", "6F03 8401A0 9000"),
        ("00A40400 03 A00001", "6F05 8403B00001 9000", "6F05 8403B00002 9000"),
        ("00A40400 03 A00001", "6F00", "6D00"),
        ("00A40404 03 A00001", "6A86", "6A87"),
        ("00A40000 02 5015", "6985", "6700"),
    ] {
        let mut reader = Reader::usual();
        reader.sends(SELECT, "9000").sends(select, answer).sends(WRONG, "63C2");
        for _ in 0..3 {
            reader.sends(select, answer);
            assert!(reader.refuses(WRONG), "{select} {answer}");
            reader.sends(SELECT, "9000").sends(select, answer);
            assert!(reader.refuses(WRONG), "{select} {answer}: after another SELECT");
        }
        reader.sends(select, other);
        assert!(!reader.refuses(WRONG), "{select} {other}: another application, or none");
        reader.sends("00A40400 03 A00002", "9000");
        assert!(!reader.refuses(WRONG), "{select}: another application");
    }
    let mut reader = Reader::usual();
    reader.sends(SELECT, "9000").sends(WRONG, "63C2").sends("00A40400 02 B000", "6F00");
    assert!(!reader.refuses(WRONG), "the application may have ended");
    reader.sends("00A40404 02 B000", "").sends(WRONG, "63C2").sends("00A40404 02 B000", "");
    assert!(!reader.refuses(WRONG), "no answer");
}

#[test]
fn answers_without_a_number_count_the_tries_down() {
    for (word, presented) in [("6300", WRONG), ("6982", WRONG), ("6300", "00240080 04 39393131")] {
        let mut reader = Reader::new(true, true);
        reader.sends(presented, word);
        assert_eq!(reader.refusal(OTHER, false), None, "the number is unknown");
        reader.sends("00200080", "63C3").sends("00200080", "6300").sends(presented.replace("39", "34").as_str(), word);
        assert_eq!(reader.refusal(OTHER, false), None, "two are left");
        reader.sends(presented.replace("39", "35").as_str(), word);
        for last in [OTHER, "00240080 04 38383131", "10200080 01 38", "00200080 02 0300", "00200080 09 3838"] {
            assert_eq!(reader.refusal(last, false), Some(Reason::PinLastTry), "{word} {last}");
        }
        reader.sends(OTHER, word);
        assert_eq!(reader.refusal(WRONG, false), Some(Reason::PinLastTry), "the card has not said that it is blocked");
        reader.sends("00200080", "6983");
        assert_eq!(reader.refusal("00200080 02 3636", false), None);
    }
    let mut reader = Reader::new(true, true);
    reader.sends("00200080", "63C2").sends("00240180 02 3939", "6982").sends("00200080", "6982");
    assert_eq!(reader.refusal(OTHER, false), None, "nothing was presented");
}

#[test]
fn a_refusal_has_the_number_of_tries_that_are_left() {
    let tries = |reader: &mut Reader, command: &str| {
        let admitted = reader.guard.admit(&ParsedCommand::parse(bytes(command)), Allowed::default(), &reader.view);
        admitted.err().unwrap().tries()
    };
    let mut reader = Reader::usual();
    reader.sends(WRONG, "6300");
    assert_eq!(tries(&mut reader, WRONG), None, "the card has reported no number");
    reader.sends("00200081 02 3838", "63C1");
    assert_eq!(tries(&mut reader, WRONG), None, "that of another PIN");
    for (command, answer, left) in
        [("00200080", "63C5", 5), (OTHER, "63C4", 4), ("00200080 02 3737", "6300", 3), ("00200080", "63CF", 15)]
    {
        reader.sends(command, answer);
        assert_eq!(tries(&mut reader, WRONG), Some(left), "{command} {answer}");
    }
    reader.sends("10200080 01 39", "9000");
    assert_eq!(tries(&mut reader, "00200080 01 39"), Some(15), "the last link");
    assert_eq!(tries(&mut reader, "00200080 02 3636"), None, "a continued chain is not compared");

    let mut strict = Reader::new(true, true);
    strict.sends(WRONG, "63C1").sends(OTHER, "6300");
    assert_eq!(tries(&mut strict, WRONG), Some(1), "the card has not said that none is left");

    let mut openpgp = Reader::usual();
    openpgp.sends(&select(OPENPGP), "9000").sends("00200081 02 3939", "63C2");
    openpgp.sends("00CA00C4 00", "00 404040 FF0303 9000");
    assert_eq!(tries(&mut openpgp, "00200082 02 3939"), Some(255), "a card may have more tries than 63 Cx can say");
}

#[test]
fn the_last_try_of_an_unblocking_code_is_kept_too() {
    let mut reader = Reader::new(false, true);
    reader.sends("002C0080 04 39393131", "63C1");
    for (presented, refusal) in [
        ("002C0080 04 38383131", Some(Reason::PinLastTry)),
        ("002C0180 02 3838", Some(Reason::PinLastTry)),
        ("002C0280 02 3131", None),
        (WRONG, None),
    ] {
        assert_eq!(reader.refusal(presented, false), refusal, "{presented}");
    }
}

#[test]
fn an_openpgp_card_tells_its_tries_in_its_status_bytes() {
    let status = |tries: &str| format!("00 404040 {tries} 9000");
    let last = |reader: &mut Reader| {
        ["00200082 02 3939", "002C0081 04 39393131", "00200083 02 3939"]
            .map(|command| reader.refusal(command, false).is_some())
    };
    let mut reader = Reader::new(true, true);
    reader.sends(&select(OPENPGP), "9000");
    for (tries, expected) in [("010303", [true, false, false]), ("030100", [false, true, false])] {
        reader.sends("00CA00C4 00", &status(tries));
        assert_eq!(last(&mut reader), expected, "{tries}");
    }
    reader.sends("00CA00C4 00", "404040 9000").sends("00CA00C4 00", "6A88");
    assert_eq!(last(&mut reader), [false, true, false], "no status bytes");
    let mut elsewhere = Reader::new(true, true);
    elsewhere.sends("00CA00C4 00", &status("010101"));
    assert_eq!(last(&mut elsewhere), [false; 3]);
}

#[test]
fn a_known_wrong_value_passes_by_permission() {
    for answer in ["63C2", "6300"] {
        let mut reader = Reader::usual();
        reader.sends(WRONG, answer).sends(OTHER, answer).repeats(WRONG, answer);
        assert!(reader.refuses(WRONG) && reader.refuses(OTHER), "{answer}: rejected again");
        reader.repeats(WRONG, "6700");
        assert!(!reader.refuses(WRONG) && reader.refuses(OTHER), "{answer}: forgotten");
        reader.sends(WRONG, answer).repeats("00240080 04 39393131", "9000");
        assert!(!reader.refuses(WRONG) && !reader.refuses(OTHER), "{answer}: everything");
    }
    let mut reader = Reader::usual();
    reader.sends(WRONG, "6982").sends(WRONG, "6982").repeats(WRONG, "6982");
    assert!(reader.refuses(WRONG), "known after three answers, not two more");
    let mut strict = Reader::new(true, true);
    strict.sends(WRONG, "63C1");
    let repeats = Allowed { last_try: false, known_wrong: true };
    let refused = strict.guard.admit(&ParsedCommand::parse(bytes(WRONG)), repeats, &strict.view).err().unwrap();
    assert_eq!(refused.reason, Reason::PinLastTry, "the other permission is still needed");
}
