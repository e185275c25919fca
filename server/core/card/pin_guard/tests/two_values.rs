//! A value in front of a new one: only the card knows where the first one ends.

use super::*;

const OPENPGP: &str = "00A40400 06 D27600012401";
const PIV: &str = "00A40400 05 A000000308";
const UNKNOWN: &str = "00A40400 05 A000000099";

/// A command with these digits as data.
fn with(header: &str, digits: &str) -> String {
    let data: String = digits.bytes().map(|digit| format!("{digit:02X}")).collect();
    format!("{header} {:02X} {data}", digits.len())
}

fn change(old: &str, new: &str) -> String {
    with("00240081", &format!("{old}{new}"))
}

fn reader(select: &str) -> Reader {
    let mut reader = Reader::usual();
    reader.sends(select, "9000");
    reader
}

#[test]
fn a_longer_value_is_another_one() {
    let mut reader = Reader::usual();
    reader.sends(WRONG, "63C2");
    assert!(!reader.refuses("00200080 03 393931") && !reader.refuses("00200080 01 39"));
}

#[test]
fn an_old_value_is_exact_where_the_standard_leaves_one_length() {
    for (select, header, old, other, news) in [
        (OPENPGP, "00240081", "999999", "999998", ["111111", "222222"]),
        (OPENPGP, "00240083", "99999999", "99999998", ["11111111", "22222222"]),
        (OPENPGP, "002C0081", "99999999", "99999998", ["111111", "222222"]),
        (PIV, "00240080", "99999999", "99999998", ["11111111", "2222222222"]),
        (UNKNOWN, "00240081", "9999", "9998", ["1111", "2222"]),
    ] {
        let mut reader = reader(select);
        let presented = |old: &str, new: &str| with(header, &format!("{old}{new}"));
        reader.sends(&presented(old, news[0]), "6300");
        assert!(reader.refuses(&presented(old, news[1])), "{header} {old}");
        assert!(!reader.refuses(&presented(other, news[1])), "{header} {other}");
        assert!(!reader.refuses(&presented(other, news[0])), "{header} {other}");
    }
}

#[test]
fn padded_values_have_one_length() {
    let mut reader = reader(UNKNOWN);
    let presented = |old: &str, new: &str| format!("00240081 10 {old} {new}");
    let (short, long) = ("39393939FFFFFFFF", "3939393900000000");
    reader.sends(&presented(short, "31313131FFFFFFFF"), "6300");
    for new in ["32323232FFFFFFFF", "3131313132FFFFFF", "3131313131313131"] {
        assert!(reader.refuses(&presented(short, new)), "{new}");
        assert!(!reader.refuses(&presented(long, new)), "{new}");
    }
    assert!(reader.refuses(&format!("00200081 08 {short}")));
}

#[test]
fn a_wrong_old_value_of_unknown_length_costs_one_try_more() {
    for (select, old, news) in [
        (OPENPGP, "999999", ["11111111", "22222222", "333333333", "44444444"]),
        (OPENPGP, "9999999", ["1111111", "22222222", "333333333", "44444444"]),
        (UNKNOWN, "999999", ["11111111", "22222222", "333333333", "44444444"]),
        (UNKNOWN, "99999999", ["111111", "222222", "333333", "444444"]),
        (UNKNOWN, "999999", ["111111", "222222", "333333", "444444"]),
    ] {
        let mut data_first = reader(select);
        data_first.sends(&change(old, news[0]), "6300");
        assert!(data_first.refuses(&change(old, news[0])), "{old}: the same data");
        assert!(data_first.refuses(&with("00200082", old)) || select == UNKNOWN, "{old}: alone");
        data_first.sends(&change(old, news[1]), "6300");
        assert!(news.iter().all(|new| data_first.refuses(&change(old, new))), "{old}: with any new value");
        let mut alone_first = reader(select);
        alone_first.sends(&with("00200081", old), "63C2").sends(&change(old, news[0]), "6300");
        assert!(news.iter().all(|new| alone_first.refuses(&change(old, new))), "{old}: alone before");
        let mut unready = reader(select);
        unready.sends(&change(old, news[0]), "6982").sends(&change(old, news[1]), "6982");
        assert!(news.iter().all(|new| unready.refuses(&change(old, new))), "{old}: 6982");
    }
}

#[test]
fn a_corrected_old_value_passes() {
    for select in [OPENPGP, UNKNOWN] {
        for new in ["222222", "111111"] {
            let mut reader = reader(select);
            reader.sends(&change("12345679", "111111"), "6300");
            assert!(!reader.refuses(&change("12345678", new)), "{select}: with the new value {new}");
        }
        let mut reader = reader(select);
        for typed in ["12345677", "12345679", "12345698"] {
            assert!(!reader.refuses(&change(typed, "111111")), "{typed}");
            reader.sends(&change(typed, "111111"), "6300");
        }
        assert!(!reader.refuses(&change("12345678", "111111")), "{select}: the same new value each time");
        reader.sends(&change("12345676", "222222"), "6300");
        assert!(!reader.refuses(&change("12345678", "111111")), "{select}: two of three had this new value");
        let mut reader = self::reader(select);
        reader.sends(&with("00200081", "123456"), "63C2").sends(&with("00200081", "1234567"), "63C1");
        assert!(!reader.refuses(&change("12345678", "111111")), "{select}: a digit was missing");
        assert!(!reader.refuses(&with("00200081", "12345678")), "{select}: alone");
    }
}

#[test]
fn a_longer_old_value_that_begins_like_two_refused_ones_is_held_back() {
    let mut reader = reader(OPENPGP);
    reader.sends(&change("12345677", "111111"), "6300").sends(&change("12345679", "222222"), "6300");
    assert!(reader.refuses(&change("12345678", "333333")), "they look like one value of six or seven digits");
    assert!(!reader.refuses(&with("00200081", "12345678")), "alone");
    reader.sends(&with("00200081", "12345678"), "9000");
    assert!(!reader.refuses(&change("12345678", "333333")), "after it was right");
}

#[test]
fn all_beginnings_of_refused_data_are_refused() {
    let mut reader = reader(OPENPGP);
    reader.sends(&change("999999", "12345678"), "6300");
    for beginning in ["999999", "9999991", "99999912"] {
        assert!(reader.refuses(&with("00200082", beginning)), "{beginning}");
    }
    assert!(reader.refuses(&change("9999991", "234567")), "all that it can be has been refused");
    for longer in [with("00200082", "9999992"), change("99999912", "8765432"), with("00200083", "999999")] {
        assert!(!reader.refuses(&longer), "{longer}");
    }
}
