//! The compiled contract, and its messages as JSON and as bytes.

use std::collections::HashSet;

use anyhow::{Context, Result};
use cardbroker_proto::DESCRIPTORS;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, FieldDescriptor, MessageDescriptor, MethodDescriptor,
    OneofDescriptor, SerializeOptions,
};
use serde_json::Value;

/// The package of the contract.
pub const PACKAGE: &str = "cardbroker.v1";

const SERVICE: &str = "cardbroker.v1.CardBrokerService";

/// The contract: its descriptors, and its required fields.
#[derive(Debug, Clone)]
pub struct Contract {
    pool: DescriptorPool,
    required: HashSet<String>,
}

impl Contract {
    /// Reads the descriptors that are compiled in.
    ///
    /// # Errors
    /// If they are not descriptors, which is a defect of the build.
    pub fn load() -> Result<Self> {
        let pool = DescriptorPool::decode(DESCRIPTORS).context("the compiled contract is broken")?;
        let mut required = HashSet::new();
        for message in pool.all_messages() {
            let file = message.parent_file();
            let locations = file.file_descriptor_proto().source_code_info.iter().flat_map(|info| &info.location);
            let marked: HashSet<_> = locations
                .filter(|location| location.leading_comments().trim_start().starts_with("REQUIRED."))
                .map(|location| location.path.clone())
                .collect();
            let fields = message.fields().map(|field| (field.path().to_vec(), field.full_name().to_owned()));
            let oneofs = message.oneofs().map(|oneof| (oneof.path().to_vec(), oneof.full_name().to_owned()));
            required.extend(fields.chain(oneofs).filter(|(path, _)| marked.contains(path)).map(|(_, name)| name));
        }
        Ok(Self { pool, required })
    }

    /// Returns the message type with a name, given without the package.
    ///
    /// # Errors
    /// If the contract has no message type of this name.
    pub fn message(&self, name: &str) -> Result<MessageDescriptor> {
        self.pool.get_message_by_name(&format!("{PACKAGE}.{name}")).with_context(|| format!("no message {name}"))
    }

    /// Returns the method with a name, such as `Transmit`.
    ///
    /// # Errors
    /// If the service has no method of this name.
    pub fn method(&self, name: &str) -> Result<MethodDescriptor> {
        let service = self.pool.get_service_by_name(SERVICE).with_context(|| format!("no service {SERVICE}"))?;
        service.methods().find(|method| method.name() == name).with_context(|| format!("no method {name}"))
    }

    /// Returns all messages of the package.
    pub fn messages(&self) -> impl Iterator<Item = MessageDescriptor> + '_ {
        self.pool.all_messages().filter(|message| message.package_name() == PACKAGE)
    }

    /// Returns whether the comment on a field says that it is required.
    pub fn is_required(&self, field: &FieldDescriptor) -> bool {
        self.required.contains(field.full_name())
    }

    /// Returns whether the comment on a oneof says that one of its members is required.
    pub fn is_oneof_required(&self, oneof: &OneofDescriptor) -> bool {
        self.required.contains(oneof.full_name())
    }
}

/// Returns a message as JSON, with the field names of the contract and without fields that hold their default.
///
/// # Errors
/// If a value has no form in JSON, such as a time beyond the year 9999.
pub fn to_json(message: &DynamicMessage) -> Result<Value> {
    let options = SerializeOptions::new().use_proto_field_name(true).skip_default_fields(true);
    Ok(message.serialize_with_options(serde_json::value::Serializer, &options)?)
}

/// Reads a message from JSON.
///
/// # Errors
/// If it has a field or a value that the type does not have.
pub fn from_json(kind: &MessageDescriptor, json: &Value) -> Result<DynamicMessage> {
    DynamicMessage::deserialize_with_options(kind.clone(), json, &DeserializeOptions::new())
        .with_context(|| format!("not a {}: {json}", kind.name()))
}

/// Reads a message from JSON and returns it as [`to_json`] writes it.
///
/// # Errors
/// The errors of [`from_json`].
pub fn canonical(kind: &MessageDescriptor, json: &Value) -> Result<Value> {
    to_json(&from_json(kind, json)?)
}

/// Reads a message from its bytes.
///
/// # Errors
/// If the bytes are not such a message.
pub fn decode(kind: &MessageDescriptor, bytes: &[u8]) -> Result<DynamicMessage> {
    DynamicMessage::decode(kind.clone(), bytes).with_context(|| format!("not the bytes of a {}", kind.name()))
}
