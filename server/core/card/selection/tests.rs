//! The selection, command by command, and in random histories against a model of a card.

mod properties;

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// The selection after these commands and their answers.
fn after(conversation: &[(&str, &str)]) -> Selection {
    let mut selection = Selection::default();
    for (command, answer) in conversation {
        let apdu = CommandApdu::parse(bytes(command)).unwrap();
        let is_plain = !apdu.class().has_secure_messaging() && !apdu.class().is_chaining();
        selection.sends(&apdu, is_plain);
        selection.answered(&bytes(answer));
    }
    selection
}

fn application(selection: &Selection, class: u8) -> Option<Vec<u8>> {
    selection.place(Class(class))?.application().map(<[u8]>::to_vec)
}

fn application_after(conversation: &[(&str, &str)]) -> Option<Vec<u8>> {
    application(&after(conversation), 0x00)
}

const SELECT_A: (&str, &str) = ("00A40400 03 A00001", "9000");
const A: &[u8] = &[0xA0, 0x00, 0x01];

#[test]
fn an_application_is_known_by_its_requested_name() {
    for answer in ["9000", "6283", "6110", "6F00 9000", "6F02 A500 9000", "6F09 8402A000 9000"] {
        assert_eq!(application_after(&[("00A40400 03 A00001", answer)]).as_deref(), Some(A), "{answer}");
    }
    assert_eq!(application_after(&[]), None, "the default application has no name");
    assert_eq!(application_after(&[("00A40400 00", "9000")]), None, "no name was requested");
}

#[test]
fn the_name_in_the_fci_replaces_the_requested_name() {
    let with_fci = |fci: &str| after(&[("00A40400 03 A00001", &format!("{fci} 9000"))]);
    for other in ["6F06 840499000102", "6F05 8403A00002", "6F13 8411A000010000000000000000000000000000"] {
        assert!(with_fci(other).place(Class(0)).is_none(), "{other}");
    }
    let other = after(&[("00A40400 03 A00001", "6106"), ("00C0000006", "6F04 840299009000")]);
    assert!(other.place(Class(0)).is_none(), "fetched afterwards");
    let less = with_fci("6F04 8402A000");
    assert_eq!(application(&less, 0x00), Some(vec![0xA0, 0x00]));
    let (short, next) = (("00A40400 02 A000", "6F04 8402A000 9000"), ("00A40402 03 A00001", "6F04 8402A000 9000"));
    assert!(!same(&[short], &[("00A40400 03 A00001", "6F04 8402A000 9000")]), "maybe another one with this beginning");
    assert!(!same(&[next], &[next]), "the next application each time");
    assert_eq!(application(&with_fci("6F02 8400"), 0x00), None, "no name at all");
}

#[test]
fn an_application_template_confirms_the_name() {
    let piv = "6111 4F06 000010000100 7907 4F05 A000000308";
    let whole = "6108 4F06 000010000100";
    let name = [0xA0, 0x00, 0x00, 0x03, 0x08, 0x00, 0x00, 0x10, 0x00, 0x01, 0x00];
    for requested in ["05 A000000308", "07 A0000003080000", "0B A000000308000010000100"] {
        for answer in [piv, whole] {
            let select = format!("00A40400 {requested}");
            let selection = after(&[(select.as_str(), &format!("{answer} 9000"))]);
            assert_eq!(application(&selection, 0x00).as_deref(), Some(&name[..]), "{requested} {answer}");
        }
    }
    for (requested, answer) in [
        ("05 A000000309", piv),
        ("0B A000000308000010000200", piv),
        ("03 A00001", "6105 4F03 A00002"),
        ("03 A00001", "6105 5003 A00001"),
        ("03 A00001", "6113 4F11 A000010000000000000000000000000000"),
    ] {
        let select = format!("00A40400 {requested}");
        let mut selection = after(&[(select.as_str(), &format!("{answer} 9000"))]);
        assert_eq!(application(&selection, 0x00), Some(bytes(&requested[3..])), "{requested} {answer}");
        assert_eq!(selection.take_confirmed_name(), None, "{requested} {answer}");
    }
    let full = after(&[("00A40400 03 A00001", "6107 4F05 A000010203 9000")]);
    assert_eq!(application(&full, 0x00), Some(vec![0xA0, 0x00, 0x01, 0x02, 0x03]));
}

#[test]
fn an_fci_fetched_in_pieces_completes_the_name() {
    let whole = Some(vec![0xA0, 0x00, 0x01, 0x02, 0x03]);
    assert_eq!(application_after(&[("00A40400 03 A00001", "6F07 8405A000010203 9000")]), whole);
    assert_eq!(application_after(&[("00A40400 03 A00001", "6F0A A501FF 8405A000010203 6283")]), whole);
    let pieces = [
        ("00A40400 03 A00001", "6F07 6107"),
        ("00C0000003", "6C04"),
        ("00C0000004", "8405A0 6104"),
        ("00C0000004", "00010203 9000"),
    ];
    assert_eq!(application_after(&pieces), whole);
    assert_eq!(application_after(&pieces[..3]).as_deref(), Some(A), "not yet");
    let [select, .., last] = pieces;
    assert_eq!(application_after(&[select, ("0084000008", "9000"), last]).as_deref(), Some(A), "another answer");
    assert_eq!(
        application_after(&[select, ("01C0000009", "8405A000010203 9000")]).as_deref(),
        Some(A),
        "another channel"
    );
}

#[test]
fn a_select_answered_6a82_changes_nothing_other_errors_forget() {
    for select in ["00A40400 02 B000", "00A40000 02 5015", "00A40800 02 5015", "00A40100 02 5015"] {
        assert_eq!(application_after(&[SELECT_A, (select, "6A82")]).as_deref(), Some(A), "{select}");
        for answer in ["6A86", "6D00", "6C10", "6400", "6300", ""] {
            assert!(after(&[SELECT_A, (select, answer)]).place(Class(0)).is_none(), "{select} {answer}");
        }
    }
    assert_eq!(after(&[("00A40400 02 B000", "6A82")]).place(Class(0)), Some(&SelectedFile::at(Start::Default)));
}

#[test]
fn only_files_below_the_application_belong_to_it() {
    for below in
        ["00A40100 02 5015", "00A40200 02 0001", "00A4090C 04 50150001", "0CA40200 02 0001", "00A40201 02 0001"]
    {
        assert_eq!(application_after(&[SELECT_A, (below, "9000")]).as_deref(), Some(A), "{below}");
    }
    for elsewhere in
        ["00A40000 02 5015", "00A40000 02 3F00", "00A40000", "00A40300", "00A40800 02 5015", "00A40C00 02 5015"]
    {
        assert_eq!(application_after(&[SELECT_A, (elsewhere, "9000")]), None, "{elsewhere}");
        assert_eq!(
            application_after(&[SELECT_A, (elsewhere, "9000"), ("00A40100 02 5016", "9000")]),
            None,
            "{elsewhere}"
        );
    }
}

#[test]
fn protected_chained_and_proprietary_commands_make_the_selection_unknown() {
    for unknown in [
        "0CA40400 03 A00002",
        "10A40400 01 A0",
        "80A40400 03 A00002",
        "20A40400 03 A00002",
        "00A40400 11 A0000000000000000000000000000000AA",
    ] {
        assert!(after(&[SELECT_A, (unknown, "9000")]).place(Class(0)).is_none(), "{unknown}");
    }
    assert_eq!(application_after(&[SELECT_A, ("FFCA000000", "04112233 9000")]).as_deref(), Some(A));
    for to_reader in ["FF00000001 00", "FF00400F04 01010101", "FFC20001 01 00", "FFD6000401 00"] {
        assert_eq!(application_after(&[SELECT_A, (to_reader, "9000")]), None, "{to_reader}: rules must not rely on it");
    }
    for envelope in ["00C20000 05 00A4040000", "00C30000 02 7300", "80C20000 01 D0"] {
        for answer in ["9000", "6A82", "6D00"] {
            assert!(after(&[SELECT_A, (envelope, answer)]).place(Class(0)).is_none(), "{envelope} {answer}");
        }
    }
}

#[test]
fn each_channel_has_its_own_selection() {
    let two = after(&[SELECT_A, ("0070000001", "01 9000"), ("01A40400 02 B000", "9000"), ("45A40400 02 C000", "9000")]);
    assert_eq!(application(&two, 0x00).as_deref(), Some(A));
    assert_eq!(application(&two, 0x01), Some(vec![0xB0, 0x00]));
    assert_eq!(application(&two, 0x65), Some(vec![0xC0, 0x00]));
    assert_eq!((application(&two, 0x02), application(&two, 0x80)), (None, None));
    assert_eq!(application(&after(&[SELECT_A]), 0x80).as_deref(), Some(A), "no other channel was used");
    for other_channel in [0x81, 0x83, 0x8D, 0xC0, 0xCF, 0xE1, 0xFF] {
        assert_eq!(application(&after(&[SELECT_A]), other_channel), None, "{other_channel:02X}");
    }
    let closed = after(&[SELECT_A, ("01A40400 02 B000", "9000"), ("00708001", "9000")]);
    assert_eq!((application(&closed, 0x00).as_deref(), application(&closed, 0x01)), (Some(A), None));
    assert_eq!(application_after(&[SELECT_A, ("00704000", "9000")]), None);
}

/// Whether two conversations lead to the same file, with certainty.
fn same(one: &[(&str, &str)], other: &[(&str, &str)]) -> bool {
    let (one, other) = (after(one), after(other));
    let place = |selection: &Selection| selection.place(Class(0)).filter(|place| place.is_certain()).cloned();
    place(&one).is_some() && place(&one) == place(&other)
}

#[test]
fn equal_paths_that_are_certain_mean_the_same_file() {
    let (file, other) = (("00A40000 02 5015", "9000"), ("00A40000 02 5016", "9000"));
    let mf = ("00A40000 02 3F00", "9000");
    assert!(same(&[], &[]) && same(&[SELECT_A], &[other, SELECT_A]) && same(&[mf], &[file, ("00A4000C", "9000")]));
    assert!(same(&[SELECT_A, file], &[SELECT_A, file, file]), "the same file again");
    assert!(same(&[SELECT_A, file], &[SELECT_A, file, ("00A40200 02 0001", "9000")]), "a file in the same DF");
    assert!(!same(&[SELECT_A], &[]) && !same(&[SELECT_A, file], &[SELECT_A]) && !same(&[mf, file], &[mf, other]));
    assert!(!same(&[mf, file, other], &[mf, other, file]), "the order matters");
    for uncertain in [
        ("00A40402 03 A00001", "9000"),
        ("00E00000 02 6200", "9000"),
        ("0CA40100 02 5015", "9000"),
        ("00A40102 02 5015", "9000"),
    ] {
        assert!(!same(&[SELECT_A, uncertain], &[SELECT_A, uncertain]), "{uncertain:?}");
    }
    let next = ("00A40402 03 A00001", "6F06 8404A0000102 9000");
    assert!(same(&[next], &[SELECT_A, next]), "the FCI has the whole name");
}

#[test]
fn a_file_with_a_long_path_is_uncertain() {
    let selects: Vec<_> = (0..40).map(|number| format!("00A40000 02 50{number:02X}")).collect();
    let path: Vec<_> = selects.iter().map(|select| (select.as_str(), "9000")).collect();
    assert!(same(&path[..20], &path[..20]) && !same(&path, &path));
    let start = [&path[..], &[("00A40000 02 3F00", "9000")]].concat();
    assert!(same(&start, &[("00A40000 02 3F00", "9000")]));
}
