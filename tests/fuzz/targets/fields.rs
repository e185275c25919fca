//! Any bytes as a request that arrives in parts: the count of its fields does not depend on the parts, and bounds what
//! the decoder makes of it.

#![no_main]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a target reports a fault by a panic")]

use cardbroker_core::budget::fields::{Fields, MAX_FIELDS, Shape, TooMany};
use cardbroker_proto::v1::TransmitRequest;
use libfuzzer_sys::fuzz_target;
use prost::Message;

const COMMAND: Shape = Shape(&[(1, &Shape::FLAT), (6, &Shape::FLAT)]);
const TRANSMIT: Shape = Shape(&[(2, &COMMAND), (3, &Shape::FLAT)]);

fn count(bytes: &[u8], chunk: usize) -> Result<u32, TooMany> {
    let mut fields = Fields::new(&TRANSMIT, bytes.len() as u64);
    bytes.chunks(chunk.max(1)).try_for_each(|chunk| fields.take(chunk))?;
    Ok(fields.count())
}

fuzz_target!(|bytes: &[u8]| {
    let Some((chunk, once)) = bytes.split_first() else { return };
    // A short input stands for a long one, which reaches the limit.
    let repeated = once.repeat(if chunk % 2 == 0 { 1 } else { 1_000 });
    let counted = count(&repeated, usize::from(*chunk));
    assert_eq!(counted, count(&repeated, usize::MAX));
    let Ok(request) = TransmitRequest::decode(&*repeated) else { return };
    let patterns: usize = request.commands.iter().map(|command| command.continue_on.len()).sum();
    match counted {
        Ok(count) => {
            assert!(count <= MAX_FIELDS);
            assert!(request.commands.len() + patterns <= count as usize, "{count} fields");
        }
        Err(TooMany) => assert!(repeated.len() > MAX_FIELDS as usize, "each field has at least one byte"),
    }
});
