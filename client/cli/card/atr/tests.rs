//! Answers to reset of real kinds of cards, and random bytes.

use cardbroker_client::hex;
use proptest::prelude::*;

use super::*;

fn read(atr: &str) -> Atr {
    Atr::read(&hex::parse(atr).unwrap())
}

/// Each part as a line: `TA1 13: Fi 372, …`.
fn lines(atr: &Atr) -> String {
    let line = |part: &Part| format!("{} {}: {}\n", part.name, hex::format(&part.bytes), part.meaning.join("|"));
    atr.parts.iter().map(line).collect()
}

#[test]
fn every_byte_of_an_answer_is_explained() {
    let atr = read("3BFD1300008131FE158073C021C057597562694B657940");
    let expected = "\
TS 3B: direct convention
T0 FD: TA1, TB1, TC1, TD1 follow; 13 historical bytes
TA1 13: Fi 372, Di 4; at most 5 MHz, that is 53763 bit/s
TB1 00: no programming voltage; not used any more
TC1 00: no extra guard time
TD1 81: TD2 follows; protocol T=1
TD2 31: TA3, TB3 follow; protocol T=1
TA3 FE: T=1: the card takes blocks of at most 254 bytes
TB3 15: T=1: waiting times: BWI 1 for a block, CWI 5 for a character
 80: COMPACT-TLV objects
 73C021C0: card capabilities|  file selection by full name|  file selection by partial name|  proprietary write|  \
data unit of 1 byte|  command chaining|  extended Lc and Le
 57597562694B6579: card issuer's data: \"YubiKey\"
TCK 40: check byte, correct
";
    assert_eq!(lines(&atr), expected);
    assert_eq!((&atr.protocols[..], atr.check, atr.is_contactless), (&[1][..], Check::Correct, false));
}

#[test]
fn a_wrong_or_missing_check_byte_is_named() {
    assert_eq!(read("3B80800101").check, Check::Correct);
    let wrong = read("3B80800102");
    assert_eq!(wrong.check, Check::Wrong);
    assert!(lines(&wrong).ends_with("TCK 02: check byte, wrong: 01 is expected\n"), "{}", lines(&wrong));
    assert_eq!((read("3B808001").check, read("3B00").check), (Check::Missing, Check::Absent));
    assert!(lines(&read("3B0000")).ends_with(" 00: more bytes than the answer announces\n"));
    assert!(lines(&read("3BF0")).ends_with("|the answer ends before its announced end\n"));
    assert!(lines(&read("3B02AA")).contains("ends before"));
}

#[test]
fn offered_protocols_and_modes_are_told() {
    assert_eq!(read("3B80800101").protocols, [0, 1]);
    assert_eq!(read("3B00").protocols, [0]);
    assert!(read("3BF0").protocols.is_empty());
    assert!(lines(&read("3F901180")).contains("inverse convention"));
    assert!(lines(&read("3B90961010")).contains("TA2 10: only T=0, with a speed known in advance; can change"));
    let sim = read("3B9F96803FC7828031E073FE211B63E20AA8830F90002A");
    assert!(sim.has_global_tb && lines(&sim).contains("TB3 82: contact C6 (SPU)"), "{}", lines(&sim));
}

#[test]
fn historical_bytes_of_all_categories_are_told() {
    let openpgp = lines(&read("3BDA18FF81B1FE751F030031F573C001600090001C"));
    for expected in [
        " 31F5: card service data|  application selection by full name|",
        "EF.DIR and EF.ATR are read by GET DATA|  without a master file",
        " 009000: status indicator|  life cycle 00: not indicated|  status word 9000: done",
    ] {
        assert!(openpgp.contains(expected), "{expected} is not in {openpgp}");
    }
    let storage = lines(&read("3B8F8001804F0CA000000306030001000000006A"));
    assert!(storage.contains("standard 03: ISO 14443 A, part 3|  card 0001: MIFARE Classic 1K"), "{storage}");
    assert!(lines(&read("3B0241424344")).contains("the manufacturer's own format"));
    assert!(lines(&read("3B021001")).contains("directory data"));
    assert!(lines(&read("3B0281AA")).contains("reserved by ISO 7816-4"));
    assert!(lines(&read("3B02807F")).contains("cut off"));
}

proptest! {
    #[test]
    fn any_bytes_are_explained_completely(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let atr = Atr::read(&bytes);
        let told: Vec<u8> = atr.parts.iter().flat_map(|part| part.bytes.clone()).collect();
        prop_assert_eq!(told, bytes);
        for part in &atr.parts {
            prop_assert!(!part.bytes.is_empty() && !part.meaning.is_empty());
            prop_assert!(part.meaning.iter().all(|line| !line.chars().any(char::is_control)));
        }
        super::super::kind(&atr);
    }

    #[test]
    fn the_check_byte_of_any_answer_is_checked(historical in proptest::collection::vec(any::<u8>(), 0..15)) {
        let mut bytes = vec![0x3B, 0x80 | u8::try_from(historical.len()).unwrap(), 0x80, 0x01];
        bytes.extend(&historical);
        bytes.push(bytes[1..].iter().fold(0, |sum, byte| sum ^ byte));
        prop_assert_eq!(Atr::read(&bytes).check, Check::Correct);
        bytes[3] ^= 0x10;
        prop_assert_ne!(Atr::read(&bytes).check, Check::Correct);
    }
}
