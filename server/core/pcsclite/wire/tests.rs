//! The layouts, byte by byte, and the parser on random bytes.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    pcsclite::{
        code::Code,
        notification::{Message as Notice, Signal},
    },
    properties::holds,
};

/// Every command with the size of its body.
const COMMANDS: [(u32, usize); 20] = [
    (0x01, 12),
    (0x02, 8),
    (0x04, 152),
    (0x05, 24),
    (0x06, 12),
    (0x07, 8),
    (0x08, 12),
    (0x09, 32),
    (0x0A, 24),
    (0x0B, 8),
    (0x0D, 8),
    (0x0F, 280),
    (0x10, 280),
    (0x11, 12),
    (0x12, 0),
    (0x13, 0),
    (0x14, 0),
    (0x15, 0),
    (0x16, 0),
    (0x17, 0),
];

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn whole(bytes: &[u8]) -> Message {
    match parse(bytes) {
        Ok(Parsed::Whole(message, length)) if length == bytes.len() => *message,
        other => panic!("{other:?}"),
    }
}

fn transmit(room: u32, command: &[u8]) -> Vec<u8> {
    let length = u32::try_from(command.len()).unwrap();
    let words = [32, 0x09, 7, 2, 8, length, 3, 16, room, 0];
    [&*bytes(&words), command].concat()
}

#[test]
fn a_connect_names_reader_share_mode_and_protocols() {
    let mut request = bytes(&[152, 0x04, 9]);
    request.extend(b"Reader 00");
    request.resize(8 + 4 + 128, 0);
    request.extend(bytes(&[2, 3, 0, 0, 0]));
    let message = whole(&request);
    let expected = Request::Connect { context: 9, reader: "Reader 00".into(), share: 2, protocols: 3 };
    assert_eq!(message.request, expected);
    let answer = message.answer(Reply::Connected { handle: 0x55, protocol: 2 });
    assert_eq!((answer.len(), &answer[140..]), (152, &*bytes(&[0x55, 2, 0])));
    assert_eq!(answer[..140], request[8..148], "the rest is the request's");
}

#[test]
fn data_follows_a_transmit_only_on_success() {
    let message = whole(&transmit(258, &[0, 0xA4, 4, 0]));
    let command = ApduBytes::from([0, 0xA4, 4, 0]);
    assert_eq!(message.request, Request::Transmit { handle: 7, protocol: 2, room: 258, command });
    let answer = message.answer(Reply::Transmitted(&[0x90, 0]));
    assert_eq!(*answer, [bytes(&[7, 2, 8, 4, 3, 16, 2, 0]), vec![0x90, 0]].concat());
    let refused = message.answer(Reply::Code(Code::RESET_CARD));
    assert_eq!(*refused, bytes(&[7, 2, 8, 4, 3, 16, 0, 0x8010_0068]));
    let short = whole(&transmit(2, &[0])).answer(Reply::Transmitted(&[1, 0x90, 0]));
    assert_eq!(*short, bytes(&[7, 2, 8, 1, 3, 16, 3, 0x8010_0008]), "the command has run");
}

#[test]
fn small_answers_have_their_fields_in_place() {
    let answer = |words: &[u32], reply| whole(&bytes(words)).answer(reply).to_vec();
    assert_eq!(answer(&[12, 1, 2, 0, 0], Reply::Established(77)), bytes(&[2, 77, 0]));
    assert_eq!(answer(&[24, 5, 1, 2, 3, 0, 0, 0], Reply::Reconnected(2)), bytes(&[1, 2, 3, 0, 2, 0]));
    assert_eq!(answer(&[0, 0x15], Reply::Events(3)), bytes(&[3, 0]));
    assert_eq!(answer(&[0, 0x16], Reply::Size(64)), bytes(&[64]));
    assert_eq!(answer(&[8, 7, 1, 0], Reply::Code(Code::SHARING_VIOLATION)), bytes(&[1, 0x8010_000B]));
    let mut attribute = bytes(&[280, 0x0F, 5, 0x0009_0303]);
    attribute.resize(288, 0);
    let attribute = whole(&attribute).answer(Reply::Attribute(&[0x3B, 0x00]));
    assert_eq!((&attribute[8..11], &attribute[272..]), (&[0x3B, 0, 0][..], &*bytes(&[2, 0])));
    assert_eq!(message(Notice::Stopped), bytes(&[0, 0]));
    assert_eq!(message(Notice::Signal(Signal::Cancelled)), bytes(&[0, 0x8010_0002]));
}

#[test]
fn each_client_gets_its_own_version_or_the_latest() {
    let answer = |minor| {
        let request = whole(&bytes(&[12, 0x11, 4, minor, 0]));
        request.answer(Reply::Version(Agreed::with(4, minor))).to_vec()
    };
    for minor in 4..=6 {
        assert_eq!(answer(minor), bytes(&[4, minor, 0]));
    }
    for minor in [3, 7, u32::MAX] {
        assert_eq!(answer(minor), bytes(&[4, 6, 0x8010_001E]));
    }
    assert_eq!(Agreed::with(5, 4).code, Code::SERVICE_STOPPED);
}

#[test]
fn bytes_of_another_protocol_are_malformed() {
    for (header, error) in [
        ([0, 0x03], Malformed::Command(3)),
        ([0, 0x18], Malformed::Command(0x18)),
        ([8, 0x13], Malformed::Body { command: 0x13, size: 8 }),
        ([u32::MAX, 0x09], Malformed::Body { command: 9, size: u32::MAX }),
    ] {
        assert_eq!(parse(&bytes(&header)), Err(error));
    }
    let long = bytes(&[32, 0x09, 7, 2, 8, 65_549, 3, 16, 258, 0]);
    assert_eq!(parse(&long), Err(Malformed::Payload(65_549)));
}

/// A request of any command with a random body, and a payload of the announced size.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    (0..COMMANDS.len(), vec(any::<u8>(), 280), 0..300_u32).prop_map(|(index, random, length)| {
        let (command, size) = COMMANDS[index];
        let mut request = bytes(&[u32::try_from(size).unwrap(), command]);
        request.extend(&random[..size]);
        let at = match command {
            0x09 => 8 + 12,
            0x0A => 8 + 8,
            _ => return request,
        };
        request[at..at + 4].copy_from_slice(&length.to_ne_bytes());
        request.resize(request.len() + length as usize, 0xA5);
        request
    })
}

#[test]
fn a_stream_of_requests_is_read_one_by_one_however_it_is_cut() {
    holds(500, (vec(requests(), 1..6), any::<u64>()), |(requests, seed)| {
        let stream = requests.concat();
        let (mut at, mut seen) = (0, Vec::new());
        while at < stream.len() {
            let mut has = (seed as usize % 3).min(stream.len() - at);
            let length = loop {
                match parse(&stream[at..at + has]).unwrap() {
                    Parsed::Missing(more) => {
                        prop_assert!(more > 0 && at + has + more <= stream.len(), "reads into the next request");
                        has += more;
                    }
                    Parsed::Whole(_, length) => break length,
                }
            };
            seen.push(stream[at..at + length].to_vec());
            at += length;
        }
        prop_assert_eq!(seen, requests);
        Ok(())
    });
}

#[test]
fn random_bytes_are_read_without_panic_and_answered_in_the_size_of_the_body() {
    let values = prop_oneof![vec(any::<u8>(), 0..400), requests()];
    holds(1000, values, |bytes| {
        if let Ok(Parsed::Whole(message, length)) = parse(&bytes) {
            prop_assert!(length <= bytes.len());
            let body = message.body.len();
            for reply in [Reply::Code(Code::NO_MEMORY), Reply::Established(1), Reply::Reconnected(2)] {
                prop_assert_eq!(message.answer(reply).len(), body);
            }
            prop_assert_eq!(message.answer(Reply::Attribute(&[0; ATTRIBUTE_BYTES + 1])).len(), body);
        }
        Ok(())
    });
}
