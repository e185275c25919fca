//! The forms in which a command presents a value: instructions, lengths, chains, data objects, fingers.

use super::*;

/// Every form in which the value `3939` is presented to the counter of the reference 80, each as a list of commands.
const FORMS: [&[&str]; 15] = [
    &["00200080 02 3939"],
    &["00200180 02 3939"],
    &["00200080 02 3939 00"],
    &["00200080 00 0002 3939"],
    &["00200080 00 0002 3939 0000"],
    &["01200080 02 3939"],
    &["10200080 01 39", "00200080 01 39"],
    &["10200080 00 0001 39", "10200080 01 39", "00200080"],
    &["00210080 04 80023939"],
    &["00210080 06 7C0480023939"],
    &["00260080 02 3939"],
    &["00280080 02 3939"],
    &["00240080 04 39393131"],
    &["10240080 03 393932", "00240080 01 32"],
    &["00250080 08 80023939 80023333"],
];

/// The result of several commands: `None` if the card would have got the last of them.
fn refusal_of(reader: &mut Reader, commands: &[&str]) -> Option<Reason> {
    let (last, links) = commands.split_last().unwrap();
    for link in links {
        reader.sends(link, "9000");
    }
    let refusal = reader.refusal(last, false);
    // Ends the chain.
    reader.sends("00B0000000", "9000");
    refusal
}

fn present(reader: &mut Reader, commands: &[&str], answer: &str) {
    let (last, links) = commands.split_last().unwrap();
    for link in links {
        reader.sends(link, "9000");
    }
    reader.sends(last, answer);
}

#[test]
fn a_value_is_known_in_every_form() {
    for first in FORMS {
        for again in FORMS {
            let mut reader = Reader::usual();
            reader.sends("01A40400 02 A001", "9000").sends("00A40400 02 A001", "9000");
            present(&mut reader, first, "63C2");
            assert_eq!(refusal_of(&mut reader, again), Some(Reason::PinKnownWrong), "{first:?} {again:?}");
            let other = again.iter().map(|command| command.replace("39", "34")).collect::<Vec<_>>();
            let other: Vec<_> = other.iter().map(String::as_str).collect();
            assert_eq!(refusal_of(&mut reader, &other), None, "{first:?} {other:?}");
        }
    }
}

#[test]
fn an_answer_6982_counts_from_the_second_time_in_every_form() {
    for first in FORMS {
        for again in FORMS {
            let mut reader = Reader::usual();
            reader.sends("01A40400 02 A001", "9000").sends("00A40400 02 A001", "9000");
            present(&mut reader, first, "6982");
            assert_eq!(refusal_of(&mut reader, again), None, "{again:?} after one {first:?}");
            present(&mut reader, again, "6982");
            for third in [first, again, FORMS[0]] {
                assert_eq!(
                    refusal_of(&mut reader, third),
                    Some(Reason::PinKnownWrong),
                    "{third:?} after {first:?} and {again:?}"
                );
            }
        }
    }
}

#[test]
fn other_answers_between_two_of_6982_do_not_count() {
    let mut reader = Reader::usual();
    reader.sends(WRONG, "6982").sends(OTHER, "6982").sends(WRONG, "6A80");
    assert!(!reader.refuses(WRONG) && !reader.refuses(OTHER));
    reader.sends(WRONG, "6982");
    assert!(reader.refuses(WRONG) && !reader.refuses(OTHER));
    reader.sends(OTHER, "9000").sends(WRONG, "6982");
    assert!(!reader.refuses(WRONG), "a success forgets");
}

#[test]
fn a_new_value_is_not_compared() {
    let mut reader = Reader::usual();
    reader.sends(WRONG, "63C2").sends("002C0080 04 39393838", "63C2");
    for new_only in ["00240180 02 3939", "002C0280 02 3939", "002C0380 02 3939"] {
        assert!(!reader.refuses(new_only), "{new_only}");
        // Without a PIN verified before, the card refuses it whatever it is.
        reader.sends(new_only, "6982").sends(new_only, "6982");
        assert!(!reader.refuses(new_only), "{new_only}");
        reader.sends(new_only, "63C1");
        assert!(reader.refuses(new_only) && !reader.refuses(&new_only.replace("39", "34")), "{new_only}");
    }
    assert!(!reader.refuses("00240080 04 38383939"), "it is the new one");
    assert!(reader.refuses("002C0180 02 3939"), "the code without a new PIN");
}

#[test]
fn a_finger_is_asked_each_time() {
    for finger in
        ["00200096 02 0300", "00200096 04 01023939", "00200096 02 3939", "00200081 02 0300", "0021009A 03 7F2E00"]
    {
        let mut reader = Reader::new(true, true);
        for answer in ["63C3", "6300", "6300", "6982", "6982"] {
            assert!(!reader.refuses(finger), "{finger}");
            reader.sends(finger, answer);
        }
        assert_eq!(reader.refusal(finger, false), Some(Reason::PinLastTry), "{finger}");
    }
    let zeros = "00200080 04 00000000";
    let mut reader = Reader::usual();
    reader.sends(zeros, "63C2");
    assert!(reader.refuses(zeros), "a PIN of zeros is no data object");
}

#[test]
fn a_chain_is_compared_only_if_it_is_whole() {
    let (link, last) = ("10200080 01 39", "00200080 01 39");
    for between in [("00B0000000", "9000"), ("00240080 02 3131", "6A80")] {
        let mut reader = Reader::usual();
        reader.sends(WRONG, "63C2").sends(link, "9000").sends(between.0, between.1);
        assert!(!reader.refuses(last), "{between:?} ends the chain");
    }
    let mut reader = Reader::usual();
    reader.sends(WRONG, "63C2").sends(link, "6884");
    assert!(!reader.refuses(last), "the card refuses chains");
    reader.sends(link, "9000");
    reader.reset();
    assert!(!reader.refuses(last), "a reset ends the chain");
    reader.sends("1020FF81 01 39", "9000");
    assert!(!reader.refuses(last), "another reference in the link");
    reader.sends("1C200080 01 39", "9000");
    assert!(!reader.refuses("0C200080 01 39"), "secure messaging");
    let mut reader = Reader::usual();
    let long = format!("10200080 00 0401 {}", "39".repeat(1025));
    reader.sends(&long, "9000").sends(last, "63C2").sends(&long, "9000");
    assert!(!reader.refuses(last), "too long");
}

#[test]
fn a_refused_chain_lets_nothing_be_joined_to_its_links() {
    let (link, last) = ("10200080 01 39", "00200080 01 39");
    let mut reader = Reader::usual();
    reader.sends(WRONG, "63C2").sends(link, "9000");
    for again in [last, link, "00200080 02 3838", link] {
        assert!(reader.refuses(again), "{again}: the card has the first link");
    }
    reader.sends("00240080 04 38383131", "6A80");
    assert!(!reader.refuses("00200080 02 3838") && !reader.refuses(link));
    let mut reader = Reader::new(true, true);
    reader.sends(OTHER, "63C1");
    assert_eq!(reader.refusal(link, false), Some(Reason::PinLastTry), "at the first link");
    reader.sends(link, "9000");
    assert_eq!(reader.refusal(last, false), Some(Reason::PinLastTry));
    assert_eq!(reader.refusal(link, true), Some(Reason::PinLastTry), "it would join the first one");
    reader.reset();
    assert_eq!(reader.refusal(link, true), None);
}

#[test]
fn surplus_bytes_behind_a_known_value_do_not_hide_it() {
    let surplus = "00200080 02 3939 0000";
    for extended in [false, true] {
        let surplus = if extended { "00200080 00 0002 3939 0000 00" } else { surplus };
        let mut reader = Reader::usual();
        reader.sends(WRONG, "63C2");
        assert!(reader.refuses(surplus));
        let mut reader = Reader::usual();
        reader.sends(surplus, "63C2");
        assert!(reader.refuses(WRONG) && reader.refuses("00240080 04 39393131"));
        assert!(!reader.refuses(OTHER) && !reader.refuses("00200080 02 3939 0001"), "another surplus");
    }
}
