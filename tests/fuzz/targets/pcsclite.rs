//! Any bytes of a PC/SC program: the requests in them are read one by one, the same ones however the bytes are cut. As
//! the answer of a PC/SC service they name brokers, and hide no broker that uses the service.

#![no_main]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a target reports a fault by a panic")]

use cardbroker_core::pcsclite::{
    chain,
    code::Code,
    reader_states::ELEMENT_BYTES,
    wire::{ATTRIBUTE_BYTES, Malformed, Message, Parsed, Reply, Request, parse},
};
use libfuzzer_sys::fuzz_target;

/// Reads all requests, with the whole rest of the bytes at hand.
fn whole(mut bytes: &[u8]) -> (Vec<Message>, Option<Malformed>) {
    let mut messages = Vec::new();
    loop {
        match parse(bytes) {
            Ok(Parsed::Whole(message, length)) => {
                assert!(length >= 8 && length <= bytes.len());
                messages.push(*message);
                bytes = &bytes[length..];
            }
            Ok(Parsed::Missing(more)) => {
                assert!(more > 0);
                return (messages, None);
            }
            Err(malformed) => return (messages, Some(malformed)),
        }
    }
}

/// Reads all requests, with no byte more at hand than was asked for.
fn in_parts(mut bytes: &[u8]) -> (Vec<Message>, Option<Malformed>) {
    let (mut messages, mut length) = (Vec::new(), 0);
    loop {
        match parse(&bytes[..length]) {
            Ok(Parsed::Whole(message, read)) => {
                assert_eq!(read, length, "it has asked for more than the request");
                messages.push(*message);
                (bytes, length) = (&bytes[read..], 0);
            }
            Ok(Parsed::Missing(more)) if length + more <= bytes.len() => length += more,
            Ok(Parsed::Missing(_)) => return (messages, None),
            Err(malformed) => return (messages, Some(malformed)),
        }
    }
}

/// Reads the bytes as the last place of a service's readers, and tells the brokers in it.
fn pass_on(bytes: &[u8]) {
    let mut array = vec![0; chain::ANSWER_BYTES];
    for (at, byte) in array[chain::ANSWER_BYTES - ELEMENT_BYTES..].iter_mut().zip(bytes) {
        *at = *byte;
    }
    let own = "0123456789abcdef".into();
    let told = chain::with_own(&own, &chain::read(&array));
    assert!(told.len() <= chain::LONGEST && told[1..].iter().all(|epoch| *epoch != own && !epoch.is_empty()));
    let mut array = vec![0; chain::ANSWER_BYTES];
    chain::write(&mut array, &told);
    let read = chain::read(&array);
    assert!(told.starts_with(&read));
    assert_eq!(chain::ring(&own, &read), Some(0));
}

fuzz_target!(|bytes: &[u8]| {
    pass_on(bytes);
    chain::read(bytes);
    let (messages, end) = whole(bytes);
    assert_eq!((&messages, end), (&in_parts(bytes).0, in_parts(bytes).1));
    for message in &messages {
        let size = message.answer(Reply::Code(Code::NO_MEMORY)).len();
        if size == 0 {
            continue;
        }
        let connected = Reply::Connected { handle: 1, protocol: 2 };
        for reply in [Reply::Established(7), connected, Reply::Reconnected(1), Reply::Attribute(&[9; ATTRIBUTE_BYTES])]
        {
            assert_eq!(message.answer(reply).len(), size);
        }
        if let Request::Transmit { room, .. } = message.request {
            let answer = [0x5A; 300];
            let sent = message.answer(Reply::Transmitted(&answer));
            assert_eq!(sent.len(), size + if room >= answer.len() { answer.len() } else { 0 });
        }
    }
});
