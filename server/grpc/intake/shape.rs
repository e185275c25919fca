//! The shapes of the requests with commands, for counting their fields before they are decoded.

use cardbroker_core::budget::fields::Shape;

const COMMAND: Shape = Shape(&[
    (1, &Shape::FLAT), // apdu
    (2, &Shape::FLAT), // control
    (3, &Shape::FLAT), // get_attribute
    (4, &Shape::FLAT), // set_attribute
    (5, &PIN_PAD),     // pin_pad
    (6, &Shape::FLAT), // continue_on
]);
const PIN_PAD: Shape = Shape(&[(8, &Shape::FLAT)]); // key_timeout
const TURN: Shape = Shape(&[(1, &Shape::FLAT)]); // wait_timeout

/// The shape of a `TransmitRequest`.
const TRANSMIT: Shape = Shape(&[
    (2, &COMMAND), // commands
    (3, &TURN),    // turn
]);

/// The shape of an `OpenSessionRequest`.
const SESSION: Shape = Shape(&[
    (1, &OPEN),        // open
    (2, &UNIT),        // transmit
    (3, &Shape::FLAT), // reset
    (5, &HEARTBEAT),   // heartbeat
]);
const OPEN: Shape = Shape(&[(2, &TURN), (3, &Shape::FLAT)]); // turn, idle_timeout
const UNIT: Shape = Shape(&[(2, &COMMAND)]); // commands
const HEARTBEAT: Shape = Shape(&[(1, &Shape::FLAT)]); // send_time

/// The shape of a method's requests.
#[derive(Clone, Copy)]
pub(super) struct RequestShape {
    /// The fields with messages inside.
    pub(super) fields: &'static Shape,
    /// The name of the field with the commands; `None` if the requests have none.
    pub(super) commands: Option<&'static str>,
}

impl RequestShape {
    /// The shape of requests without messages inside.
    pub(super) const FLAT: Self = Self { fields: &Shape::FLAT, commands: None };
}

/// Returns the shape of the requests of the method at `path`.
pub(super) fn of_requests(path: &str) -> RequestShape {
    match path {
        super::TRANSMIT => RequestShape { fields: &TRANSMIT, commands: Some("commands") },
        super::OPEN_SESSION => RequestShape { fields: &SESSION, commands: Some("transmit.commands") },
        _ => RequestShape::FLAT,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use cardbroker_proto::DESCRIPTORS;
    use prost_reflect::{DescriptorPool, Kind, MessageDescriptor};

    use super::*;

    /// Compares a shape with the contract: each field that is a message, and no other.
    fn check(shape: &Shape, message: &MessageDescriptor, seen: &mut HashSet<String>) {
        seen.insert(message.name().to_owned());
        let inner = message.fields().filter_map(|field| match field.kind() {
            Kind::Message(inner) => Some((field.number(), inner)),
            _ => None,
        });
        let inner: Vec<_> = inner.collect();
        let numbers = |numbers: &mut dyn Iterator<Item = u32>| numbers.collect::<HashSet<_>>();
        assert_eq!(
            numbers(&mut shape.0.iter().map(|(number, _)| *number)),
            numbers(&mut inner.iter().map(|(number, _)| *number)),
            "{}",
            message.full_name()
        );
        for (number, inner) in inner {
            let (_, shape) = shape.0.iter().find(|(known, _)| *known == number).unwrap();
            check(shape, &inner, seen);
        }
    }

    #[test]
    fn the_shapes_are_those_of_the_contract() {
        let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
        let mut seen = HashSet::new();
        for (method, name) in
            [(super::super::TRANSMIT, "TransmitRequest"), (super::super::OPEN_SESSION, "OpenSessionRequest")]
        {
            let message = pool.get_message_by_name(&format!("cardbroker.v1.{name}")).unwrap();
            check(of_requests(method).fields, &message, &mut seen);
        }
        assert!(seen.contains("StatusWordPattern") && seen.contains("ApduCommand"), "{seen:?}");
    }
}
