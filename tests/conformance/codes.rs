//! `codes.json`: the table of proto/codes.rs for programs in other languages.

use std::time::Duration;

use cardbroker_proto::{
    codes,
    v1::{Delivery, ErrorReason},
};
use serde_json::{Value, json};

/// The codes (of google.rpc.Code) after which a repeat cannot succeed: INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED,
/// UNIMPLEMENTED, UNAUTHENTICATED.
const PERMANENT: [i64; 5] = [3, 5, 7, 12, 16];

/// Whether a code means that a repeat cannot succeed.
pub fn is_permanent(code: &Value) -> bool {
    code.as_i64().is_some_and(|code| PERMANENT.contains(&code))
}

/// Returns the table: one row for each possible pair of reason and delivery.
pub fn table() -> Value {
    let mut rows = Vec::new();
    for reason in ErrorReason::all() {
        for delivery in [Delivery::NotSent, Delivery::Unknown, Delivery::Executed] {
            // The command ran, so NOT_SENT is impossible.
            if reason == ErrorReason::ResponseLost && delivery == Delivery::NotSent {
                continue;
            }
            let code = codes::code(reason, delivery);
            let retry_after = codes::retry_after(reason, delivery).as_ref().map(Duration::as_secs_f64);
            rows.push(json!({
                "reason": reason.as_str_name(),
                "delivery": delivery.as_str_name(),
                "code": code as i32,
                "code_name": name(code),
                "retry_after": retry_after.map(|seconds| format!("{seconds:.3}s")),
                "permanent": is_permanent(&json!(code as i32)),
            }));
        }
    }
    rows.into()
}

/// The name of a code in the contract: `NOT_FOUND`.
fn name(code: tonic::Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_uppercase());
    }
    name
}
