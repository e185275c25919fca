//! Makes a driver behave like one whose client does not know a field.

use serde_json::Value;

/// Removes a field, wherever it occurs.
pub fn leave_out(value: &mut Value, field: &str) {
    match value {
        Value::Object(fields) => {
            fields.remove(field);
            fields.values_mut().for_each(|value| leave_out(value, field));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| leave_out(value, field)),
        _ => {}
    }
}
