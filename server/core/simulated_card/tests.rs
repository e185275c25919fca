//! Tests of the simulated card, command by command.

use super::{pin::BLOCKED, *};

const SELECT: &str = "00A4040006F04341524401";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

fn card(protocol: Protocol) -> SimulatedCard {
    let mut card = SimulatedCard::new(CardOptions { protocol, serial: 7, ..CardOptions::default() });
    assert_eq!(card.reset(), Some(card.atr()));
    card
}

/// The data and the status word of `card`'s response.
fn send_bytes(card: &mut SimulatedCard, command: &[u8]) -> (Vec<u8>, u16) {
    let Reaction::Answer { answer, .. } = card.transmit(command) else { panic!("no answer") };
    let (data, status) = answer.split_last_chunk::<2>().unwrap();
    (data.to_vec(), u16::from_be_bytes(*status))
}

fn send(card: &mut SimulatedCard, command: &str) -> (Vec<u8>, u16) {
    send_bytes(card, &hex(command))
}

fn status(card: &mut SimulatedCard, command: &str) -> u16 {
    let (data, status) = send(card, command);
    assert!(data.is_empty(), "{command}");
    status
}

#[test]
fn select_offers_the_fci_to_the_next_get_response() {
    for protocol in [Protocol::T0, Protocol::T1] {
        let mut card = card(protocol);
        assert_eq!(status(&mut card, SELECT), 0x6113);
        let (fci, ok) = send(&mut card, "00C0000013");
        assert_eq!((fci.len(), ok), (19, OK));
        assert_eq!(status(&mut card, "00C0000013"), 0x6D00);
    }
}

#[test]
fn a_command_between_select_and_get_response_breaks_the_pair() {
    let mut card = card(Protocol::T1);
    assert_eq!(status(&mut card, &format!("{SELECT}00")), 0x6113);
    assert_eq!(status(&mut card, "00A4040009A00000030800001000"), NOT_FOUND);
    assert_eq!(status(&mut card, "00C0000013"), 0x6D00);
    assert_eq!(status(&mut card, SELECT), 0x6113);
    card.reset();
    assert_eq!(status(&mut card, "00C0000013"), 0x6D00);
}

#[test]
fn unknown_instructions_and_classes_are_refused() {
    let mut card = card(Protocol::T1);
    assert_eq!(status(&mut card, "00FE0000"), UNKNOWN_INSTRUCTION);
    assert_eq!(status(&mut card, "80A40400"), UNKNOWN_INSTRUCTION);
    assert_eq!(status(&mut card, "FFCA000000"), UNKNOWN_CLASS);
}

#[test]
fn a_wrong_le_for_a_record_returns_the_right_le() {
    for protocol in [Protocol::T0, Protocol::T1] {
        let mut card = card(protocol);
        assert_eq!(status(&mut card, "00B2010400"), 0x6C10);
        assert_eq!(send(&mut card, "00B2010410"), (RECORD.to_vec(), OK));
    }
}

#[test]
fn a_long_file_is_read_in_parts_or_at_once() {
    let mut t1 = card(Protocol::T1);
    let (all, ok) = send(&mut t1, "00B00000 0003E8");
    assert_eq!((all.len(), ok), (1000, OK));
    assert_eq!(send(&mut t1, "00B0010000"), (all[256..512].to_vec(), OK));
    assert_eq!(send(&mut t1, "00B003E000"), (all[992..].to_vec(), OK));
    assert_eq!(status(&mut t1, "00B003E800"), WRONG_OFFSET);
    let mut t0 = card(Protocol::T0);
    assert_eq!(send(&mut t0, "00B0010000"), (all[256..512].to_vec(), OK));
    assert_eq!(status(&mut t0, "00B003E000"), 0x6C08);
}

#[test]
fn a_large_object_comes_as_a_chain() {
    for protocol in [Protocol::T0, Protocol::T1] {
        let mut card = card(protocol);
        let steps = ["00CA010000", "00C0000000", "00C0000000", "00C00000BC"].map(|command| {
            let (data, status) = send(&mut card, command);
            (data.len(), status)
        });
        assert_eq!(steps, [(0, 0x6100), (256, 0x6100), (256, 0x61BC), (188, OK)]);
    }
}

#[test]
fn wrong_pins_block_and_the_right_one_restores_tries() {
    let mut card = card(Protocol::T1);
    let (right, wrong) = ("00200080083132333435363738", "00200080083132333435363737");
    assert_eq!(status(&mut card, "00200080"), 0x63C3);
    assert_eq!(status(&mut card, wrong), 0x63C2);
    assert_eq!(status(&mut card, right), OK);
    assert_eq!(status(&mut card, "00200080"), OK);
    assert_eq!([wrong; 4].map(|pin| status(&mut card, pin)), [0x63C2, 0x63C1, 0x63C0, BLOCKED]);
    card.reset();
    assert_eq!(status(&mut card, right), BLOCKED);
    assert_eq!(status(&mut card, "00200080"), BLOCKED);
}

#[test]
fn changed_pin_holds_until_it_is_changed_again() {
    let mut card = card(Protocol::T1);
    let (old, new) = ("3132333435363738", "3837363534333231");
    let verify = |pin: &str| format!("0020008008{pin}");
    assert_eq!(status(&mut card, &format!("0024008010{new}{old}")), 0x63C2);
    assert_eq!(status(&mut card, &format!("0024008010{old}{new}")), OK);
    assert_eq!(status(&mut card, "00200080"), OK);
    card.reset();
    assert_eq!(status(&mut card, &verify(old)), 0x63C2);
    assert_eq!(status(&mut card, &verify(new)), OK);
    assert_eq!(status(&mut card, &format!("0024008010{new}{old}")), OK);
    assert_eq!(status(&mut card, &verify(old)), OK);
    for wrong in ["00240080".to_owned(), format!("0024008008{old}"), format!("0024008011{old}{new}00")] {
        assert_eq!(status(&mut card, &wrong), WRONG_LENGTH);
    }
    assert_eq!(status(&mut card, &format!("0024018010{old}{new}")), WRONG_PARAMETERS);
}

#[test]
fn a_verified_pin_survives_a_select_but_not_a_reset() {
    let mut card = card(Protocol::T1);
    assert_eq!(status(&mut card, "00B0810020"), NOT_VERIFIED);
    assert_eq!(status(&mut card, "00200080083132333435363738"), OK);
    status(&mut card, SELECT);
    assert_eq!(send(&mut card, "00B0810020"), (PROTECTED.to_vec(), OK));
    card.reset();
    assert_eq!(status(&mut card, "00B0810020"), NOT_VERIFIED);
}

#[test]
fn counters_survive_resets_and_a_wrong_le_counts_no_debit() {
    for protocol in [Protocol::T0, Protocol::T1] {
        let mut card = card(protocol);
        assert_eq!(send(&mut card, "8010000004"), (vec![0, 0, 0, 1], OK));
        assert_eq!(send(&mut card, "8012000004"), (vec![0, 0, 0, 1], OK));
        assert_eq!(status(&mut card, "8012000000"), 0x6C04);
        card.power_off();
        card.reset();
        assert_eq!(send(&mut card, "8012000004"), (vec![0, 0, 0, 2], OK));
        assert_eq!(send(&mut card, "8010000004"), (vec![0, 0, 0, 5], OK));
    }
}

#[test]
fn echo_answers_65535_bytes() {
    let mut card = card(Protocol::T1);
    let data = vec![0x5A; 65_535];
    let command = [&hex("80140000 00FFFF"), &data[..], &[0, 0]].concat();
    assert_eq!(send_bytes(&mut card, &command), (data, OK));
}

#[test]
fn t0_answers_a_case_4_command_by_get_response() {
    let mut card = card(Protocol::T0);
    assert_eq!(status(&mut card, "80140000 03 010203 00"), WRONG_LENGTH);
    assert_eq!(status(&mut card, "80140000 03 010203"), 0x6103);
    assert_eq!(status(&mut card, "00C0000000"), 0x6C03);
    assert_eq!(send(&mut card, "00C0000003"), (vec![1, 2, 3], OK));
    assert_eq!(status(&mut card, "00200080"), WRONG_LENGTH);
    assert_eq!(status(&mut card, "0020008000"), 0x63C3);
}

#[test]
fn only_one_instruction_continues_a_continued_response() {
    let mut card = card(Protocol::T1);
    assert_eq!(status(&mut card, "8018000000"), 0x6105);
    assert_eq!(status(&mut card, "00C0000005"), 0x6D00);
    assert_eq!(status(&mut card, "80180000"), 0x6105);
    assert_eq!(send(&mut card, "00A5000002"), (b"ch".to_vec(), 0x6103));
    assert_eq!(send(&mut card, "80A5000003"), (b"ain".to_vec(), OK));
}

#[test]
fn a_slow_command_and_a_hang_take_the_requested_time() {
    let mut card = card(Protocol::T1);
    for command in ["8016000002 01F4", "80F0080004 01F40000"] {
        let Reaction::Answer { work, then: None, .. } = card.transmit(&hex(command)) else { panic!("no answer") };
        assert_eq!(work, Duration::from_millis(500));
    }
}

#[test]
fn a_mute_card_ignores_the_requested_number_of_resets() {
    let mut card = card(Protocol::T1);
    assert_eq!(status(&mut card, "80F0040004 00020000"), OK);
    assert_eq!((card.reset(), card.reset()), (None, None));
    assert_eq!(card.transmit(&hex(SELECT)), Reaction::Fail { after: Duration::ZERO });
    assert!(card.reset().is_some());
}

#[test]
fn faults_are_reported_as_reactions() {
    let mut card = card(Protocol::T1);
    let mut fault = |command: &str| card.transmit(&hex(command));
    let seconds = Duration::from_secs;
    let ok = |then| Reaction::Answer { answer: vec![0x90, 0].into(), work: seconds(0), then };
    let gone = Absence { after: seconds(1), back: None };
    assert_eq!(fault("80F0010004 03E8FFFF"), Reaction::Leave(gone));
    assert_eq!(fault("80F0020004 03E8FFFF"), ok(Some(gone)));
    assert_eq!(fault("80F0030004 00000000"), ok(Some(Absence { after: seconds(0), back: Some(seconds(0)) })));
    assert_eq!(fault("80F0050004 03E80000"), Reaction::Fail { after: seconds(1) });
    assert_eq!(fault("80F0060004 03E80000"), Reaction::Fail { after: seconds(0) });
    let Reaction::Answer { answer, .. } = fault("80F0070004 00000000") else { panic!("no answer") };
    assert_eq!(answer.len(), 1);
    assert_eq!(fault("80F0630004 00000000"), Reaction::answer(&[], WRONG_PARAMETERS, seconds(0)));
    assert_eq!(fault("80F0010002 0000"), Reaction::answer(&[], WRONG_LENGTH, seconds(0)));
}

#[test]
fn data_offered_to_one_class_is_refused_to_another() {
    for protocol in [Protocol::T0, Protocol::T1] {
        let mut card = card(protocol);
        for class in ["00", "80", "84"] {
            assert_eq!(status(&mut card, &format!("801A{class}0000")), 0x6105);
            assert_eq!(send(&mut card, &format!("{class}C0000005")), (b"picky".to_vec(), OK));
            assert_eq!(status(&mut card, &format!("801A{class}0000")), 0x6105);
            assert_eq!(status(&mut card, "01C0000005"), UNKNOWN_CLASS);
            assert_ne!(status(&mut card, &format!("{class}C0000005")), OK, "it was dropped");
            assert_eq!(status(&mut card, &format!("801A{class}0100")), 0x6105);
            assert_eq!(status(&mut card, "01C0000005"), UNKNOWN_CLASS);
            assert_eq!(send(&mut card, &format!("{class}C0000005")), (b"picky".to_vec(), OK), "it was kept");
        }
    }
}

#[test]
fn a_status_word_of_choice_is_answered() {
    for protocol in [Protocol::T0, Protocol::T1] {
        let mut card = card(protocol);
        assert_eq!(status(&mut card, "801C912000"), 0x9120);
        assert_eq!(status(&mut card, "801C6A8200"), NOT_FOUND);
    }
}
