//! Makes messages in which one field is set, and completes them to valid messages of a client or a broker.

use std::collections::HashSet;

use anyhow::Result;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value};

use super::exceptions;
use crate::contract::{Contract, PACKAGE};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// From the client to the broker.
    Request,
    /// From the broker to the client.
    Response,
}

/// A message in which one field is set.
#[derive(Debug, Clone)]
pub(super) struct Variant {
    /// The field's path, with the value where there are several: `commands.apdu.raw`.
    pub(super) path: String,
    pub(super) message: DynamicMessage,
}

/// A value above all of an enumeration, as a newer broker may send it.
const NEWER: i32 = 99;

/// Makes values, and records the fields that have had one.
pub(super) struct Maker<'a> {
    pub(super) contract: &'a Contract,
    pub(super) seen: HashSet<String>,
}

impl Maker<'_> {
    /// Returns a variant for each field of a message, and for each field of the messages in it.
    ///
    /// # Errors
    /// If the contract is broken.
    pub(super) fn variants(&mut self, kind: &MessageDescriptor, side: Side) -> Result<Vec<Variant>> {
        let mut variants = Vec::new();
        for field in kind.fields() {
            if exceptions::LEFT_OUT.iter().any(|(name, _)| *name == short(&field)) {
                continue;
            }
            self.seen.insert(short(&field).to_owned());
            let values = self.values(&field, side)?;
            let elements: Vec<_> = values.iter().map(|(_, value)| value.clone()).collect();
            for (label, value) in values {
                let value = if field.is_list() { Value::List(vec![value]) } else { value };
                variants.push(with(kind, &field, &label, value));
            }
            if field.is_list() {
                let second = elements.last().or(elements.first()).cloned();
                let both = elements.first().cloned().into_iter().chain(second).collect();
                variants.push(with(kind, &field, " (two)", Value::List(both)));
            }
        }
        Ok(variants)
    }

    /// Returns values for a field, or for an element of a list, each with the end of its path after the field's name.
    fn values(&mut self, field: &FieldDescriptor, side: Side) -> Result<Vec<(String, Value)>> {
        if let Some([one, other]) = exceptions::values(short(field)) {
            let mut values = vec![(String::new(), one), (" (other)".to_owned(), other)];
            if is_optional(field) && side == Side::Request && !never_default(field) {
                values.push((" = 0".to_owned(), Value::I32(0)));
            }
            return Ok(values);
        }
        let number = i32::try_from(field.number())? + 40;
        let one = |value| Ok(vec![(String::new(), value)]);
        match field.kind() {
            Kind::Message(kind) if kind.full_name() == "google.protobuf.Duration" => {
                let mut values = vec![(String::new(), pair(&kind, 1 + i64::from(number % 7), 250_000_000)?)];
                if side == Side::Request {
                    let zero = pair(&kind, 0, 0)?;
                    let takes_zero = short(field) == "TurnOptions.wait_timeout";
                    values.extend(takes_zero.then(|| (" = 0".to_owned(), zero)));
                } else {
                    values.push((" (short)".to_owned(), pair(&kind, 0, 1_234_000)?));
                }
                Ok(values)
            }
            Kind::Message(kind) if kind.full_name() == "google.protobuf.Timestamp" => {
                one(pair(&kind, 1_700_000_000 + i64::from(number), 123_000_000)?)
            }
            Kind::Message(kind) => {
                let variants = self.variants(&kind, side)?;
                let inner =
                    variants.into_iter().map(|inner| (format!(".{}", inner.path), Value::Message(inner.message)));
                let mut values: Vec<_> = inner.collect();
                if values.is_empty() {
                    values.push((String::new(), Value::Message(DynamicMessage::new(kind))));
                }
                Ok(values)
            }
            Kind::Enum(kind) => {
                let known = kind.values().filter(|value| value.number() != 0);
                let known = known.map(|value| (format!(" = {}", value.name()), Value::EnumNumber(value.number())));
                let newer = (side == Side::Response).then(|| (format!(" = {NEWER}"), Value::EnumNumber(NEWER)));
                Ok(known.chain(newer).collect())
            }
            Kind::Int32 => {
                let optional = is_optional(field).then(|| (" = 0".to_owned(), Value::I32(0)));
                Ok([(String::new(), Value::I32(number))].into_iter().chain(optional).collect())
            }
            // More than 32 bits, and exact in a 64-bit float.
            Kind::Int64 => one(Value::I64((1 << 33) + i64::from(number))),
            Kind::Bool => one(Value::Bool(true)),
            Kind::String => Ok(vec![
                (String::new(), Value::String(format!("{} é", field.name()))),
                (" (other)".to_owned(), Value::String(format!("other-{}", field.name()))),
            ]),
            Kind::Bytes => Ok(vec![
                (String::new(), Value::Bytes(vec![0xC0, 0x00, u8::try_from(number)?, 0xFF].into())),
                (" (other)".to_owned(), Value::Bytes(vec![u8::try_from(number)?].into())),
            ]),
            kind => anyhow::bail!("{}: the walk has no value of {kind:?}", field.full_name()),
        }
    }

    /// Sets the required fields of a request.
    ///
    /// # Errors
    /// If the contract is broken.
    pub(super) fn complete(&mut self, message: &mut DynamicMessage) -> Result<()> {
        let kind = message.descriptor();
        for field in kind.fields() {
            let in_oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
            let is_missing = match &in_oneof {
                Some(oneof) => {
                    self.contract.is_oneof_required(oneof) && !oneof.fields().any(|member| message.has_field(&member))
                }
                None => self.contract.is_required(&field) && !message.has_field(&field),
            };
            let is_own = exceptions::LEFT_OUT.iter().any(|(name, _)| *name == short(&field));
            if is_missing && !is_own {
                let value = match field.kind() {
                    Kind::Message(kind) => Value::Message(DynamicMessage::new(kind)),
                    _ => self.values(&field, Side::Request)?.swap_remove(0).1,
                };
                message.set_field(&field, if field.is_list() { Value::List(vec![value]) } else { value });
            }
            if message.has_field(&field) {
                match message.get_field_mut(&field) {
                    Value::Message(inner) => self.complete(inner)?,
                    Value::List(elements) => {
                        for element in elements.iter_mut().filter_map(Value::as_message_mut) {
                            self.complete(element)?;
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// The name of a field without the package: `ApduCommand.raw`.
pub(super) fn short(field: &FieldDescriptor) -> &str {
    field.full_name().strip_prefix(PACKAGE).map_or(field.full_name(), |name| name.trim_start_matches('.'))
}

fn is_optional(field: &FieldDescriptor) -> bool {
    field.field_descriptor_proto().proto3_optional()
}

fn never_default(field: &FieldDescriptor) -> bool {
    exceptions::NEVER_DEFAULT.iter().any(|(name, _)| *name == short(field))
}

fn with(kind: &MessageDescriptor, field: &FieldDescriptor, label: &str, value: Value) -> Variant {
    let mut message = DynamicMessage::new(kind.clone());
    message.set_field(field, value);
    Variant { path: format!("{}{label}", field.name()), message }
}

fn pair(kind: &MessageDescriptor, seconds: i64, nanos: i32) -> Result<Value> {
    let mut message = DynamicMessage::new(kind.clone());
    message.try_set_field_by_name("seconds", Value::I64(seconds)).map_err(anyhow::Error::msg)?;
    message.try_set_field_by_name("nanos", Value::I32(nanos)).map_err(anyhow::Error::msg)?;
    Ok(Value::Message(message))
}
