//! Statuses that end a call: the broker's, and those of a proxy that does not know the broker.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use cardbroker_proto::{
    codes,
    reason::{DELIVERY_TRAILER, ERROR_DOMAIN, REASON_TRAILER},
    v1::{Delivery, ErrorReason, Failure, StatusDetails},
};
use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message;
use prost_types::Any;
use serde_json::{Map, Value};
use tonic_types::pb::{BadRequest, ErrorInfo, RetryInfo, bad_request};

use crate::contract::{self, Contract};

/// The end of a call.
pub(crate) enum Ending {
    /// A gRPC status in these trailers.
    Grpc(HeaderMap),
    /// An HTTP answer that is not gRPC, by its status.
    Http(u16),
}

impl Ending {
    /// The end without an error.
    pub(crate) fn ok() -> Self {
        Self::Grpc([(HeaderName::from_static("grpc-status"), HeaderValue::from(0))].into_iter().collect())
    }
}

/// The keys of `fail` that belong to no `Failure`.
const OWN_KEYS: [&str; 4] = ["bare", "http", "status", "with"];

/// Returns the ending that a step's `fail` describes.
pub(crate) fn ending(contract: &Contract, fail: &Value) -> Result<Ending> {
    let object = fail.as_object().context("\"fail\" is not an object")?;
    if let Some(status) = object.get("http") {
        return Ok(Ending::Http(status.as_u64().and_then(|status| status.try_into().ok()).context("\"http\"")?));
    }
    let own = |(key, _): &(&String, &Value)| OWN_KEYS.contains(&key.as_str());
    let plain: Map<_, _> =
        object.iter().filter(|entry| !own(entry)).map(|(key, value)| (key.clone(), value.clone())).collect();
    let message = contract::from_json(&contract.message("Failure")?, &plain.into())?;
    let mut failure = Failure::decode(&*message.encode_to_vec())?;
    if object.get("bare").is_some_and(|bare| *bare == true) {
        return Ok(Ending::Grpc(status(failure.code, &failure.message)?));
    }
    let status = object.get("status").map(|code| code.as_i64().and_then(|code| code.try_into().ok()));
    let status = match status {
        Some(status) => status.context("\"status\" is not a code")?,
        None => {
            if failure.code == 0 {
                failure.code = code(failure.reason, failure.delivery)?;
            }
            failure.code
        }
    };
    let with = |word: &str| match object.get("with") {
        Some(Value::Array(words)) => words.iter().any(|with| with == word),
        _ => true,
    };
    told(status, &failure, with("failure"), with("generic"), with("trailers")).map(Ending::Grpc)
}

/// Returns the gRPC code of a failure whose reason and delivery are known.
pub(crate) fn code(reason: i32, delivery: i32) -> Result<i32> {
    match (ErrorReason::try_from(reason), Delivery::try_from(delivery)) {
        (Ok(reason), Ok(delivery)) => Ok(codes::code(reason, delivery) as i32),
        _ => bail!("a failure with reason {reason} and delivery {delivery} must name its code"),
    }
}

fn status(code: i32, message: &str) -> Result<HeaderMap> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(code));
    if !message.is_empty() {
        trailers.insert("grpc-message", HeaderValue::from_str(&percent_encoded(message))?);
    }
    Ok(trailers)
}

fn told(code: i32, failure: &Failure, in_failure: bool, in_generic: bool, in_trailers: bool) -> Result<HeaderMap> {
    let mut trailers = status(code, &failure.message)?;
    let mut details = Vec::new();
    if in_failure {
        details.push(any("cardbroker.v1.Failure", failure));
    }
    if in_generic {
        details.extend(generic(failure));
    }
    if !details.is_empty() {
        let details = StatusDetails { code, message: failure.message.clone(), details };
        let encoded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD_NO_PAD, details.encode_to_vec());
        trailers.insert("grpc-status-details-bin", HeaderValue::from_maybe_shared(Bytes::from(encoded))?);
    }
    if in_trailers {
        let reason = HeaderValue::from_str(&reason_name(failure.reason))?;
        trailers.insert(HeaderName::from_static(REASON_TRAILER), reason);
        trailers.insert(
            HeaderName::from_static(DELIVERY_TRAILER),
            HeaderValue::from_str(&delivery_name(failure.delivery))?,
        );
    }
    Ok(trailers)
}

/// The details for clients that know gRPC and nothing of this contract.
fn generic(failure: &Failure) -> Vec<Any> {
    let mut metadata = std::collections::HashMap::from([("delivery".to_owned(), delivery_name(failure.delivery))]);
    for (key, value) in [("reader", &failure.reader), ("rule", &failure.rule)] {
        if !value.is_empty() {
            metadata.insert(key.to_owned(), value.clone());
        }
    }
    let info = ErrorInfo { reason: reason_name(failure.reason), domain: ERROR_DOMAIN.to_owned(), metadata };
    let mut details = vec![any("google.rpc.ErrorInfo", &info)];
    if failure.retry_after.is_some() {
        details.push(any("google.rpc.RetryInfo", &RetryInfo { retry_delay: failure.retry_after }));
    }
    if !failure.field_violations.is_empty() {
        let violation = |violation: &cardbroker_proto::v1::FieldViolation| bad_request::FieldViolation {
            field: violation.field.clone(),
            description: violation.description.clone(),
            ..Default::default()
        };
        let field_violations = failure.field_violations.iter().map(violation).collect();
        details.push(any("google.rpc.BadRequest", &BadRequest { field_violations }));
    }
    details
}

fn any(name: &str, message: &impl Message) -> Any {
    Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}

/// The short name of a reason; an unknown reason gets an unknown name.
fn reason_name(reason: i32) -> String {
    match ErrorReason::try_from(reason) {
        Ok(reason) => reason.short_name().to_owned(),
        Err(_) => format!("NEWER_{reason}"),
    }
}

fn delivery_name(delivery: i32) -> String {
    match Delivery::try_from(delivery) {
        Ok(delivery) => delivery.short_name().to_owned(),
        Err(_) => format!("newer_{delivery}"),
    }
}

fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'%';
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
