//! Compares received values with expected ones, and reports the differences.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The values of names such as `$name` in a scenario: the first value binds the name, each later one must be equal.
pub(crate) type Bindings = BTreeMap<String, Value>;

/// Fields whose absence has a meaning: a client may write it out.
const DEFAULTS: [(&str, &str); 6] = [
    ("wait_timeout", "30s"),
    ("idle_timeout", "10s"),
    ("card", "CARD_REQUIREMENT_REQUIRED"),
    ("reset_before", "CARD_RESET_NONE"),
    ("encoding", "PIN_ENCODING_ASCII"),
    // Of a pattern of status words.
    ("mask", "65535"),
];

/// The permitted values besides the expected ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing but fields with default values.
    Default,
    /// Any further fields, as in errors.
    Any,
}

/// Returns each difference, as a path and a message; nothing if `actual` fits `expected`.
pub(crate) fn differences(expected: &Value, actual: &Value, rest: Rest, bindings: &mut Bindings) -> Vec<String> {
    let mut found = Vec::new();
    compare(expected, actual, rest, bindings, "", &mut found);
    found
}

fn compare(expected: &Value, actual: &Value, rest: Rest, bindings: &mut Bindings, path: &str, found: &mut Vec<String>) {
    let here = || if path.is_empty() { "." } else { path };
    match (expected, actual) {
        (Value::String(any), _) if any == "*" => {
            if is_default(actual) {
                found.push(format!("{}: any value expected, got {actual}", here()));
            }
        }
        (Value::String(anything), _) if anything == "?" => {}
        (Value::String(name), _) if name.starts_with('$') => match bindings.get(name) {
            Some(bound) if !same(bound, actual) => {
                found.push(format!("{}: {name} = {bound} expected, got {actual}", here()));
            }
            Some(_) => {}
            None if is_default(actual) => found.push(format!("{}: a value for {name} expected, got {actual}", here())),
            None => drop(bindings.insert(name.clone(), actual.clone())),
        },
        (Value::Object(expected), Value::Object(actual)) => {
            for (key, value) in expected {
                let actual = actual.get(key).unwrap_or(&Value::Null);
                compare(value, actual, rest, bindings, &format!("{path}.{key}"), found);
            }
            if rest == Rest::Default {
                let others =
                    actual.iter().filter(|(key, value)| !expected.contains_key(*key) && !is_as_absent(key, value));
                found.extend(others.map(|(key, value)| format!("{path}.{key}: nothing expected, got {value}")));
            }
        }
        (Value::Array(expected), Value::Array(actual)) if expected.len() == actual.len() => {
            for (index, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                compare(expected, actual, rest, bindings, &format!("{path}[{index}]"), found);
            }
        }
        _ if same(expected, actual) || (actual.is_null() && is_never_present(expected)) => {}
        _ => found.push(format!("{}: {expected} expected, got {actual}", here())),
    }
}

/// Compares two values; 64-bit numbers may be written as texts.
fn same(expected: &Value, actual: &Value) -> bool {
    expected == actual || (is_number(expected) && is_number(actual) && text(expected) == text(actual))
}

fn is_number(value: &Value) -> bool {
    value.is_number() || value.as_str().is_some_and(|text| text.parse::<i64>().is_ok())
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Whether a value is the one of an unset field. An empty message is not.
fn is_default(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(_) => value.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty() || text == "0" || text == "0s",
        Value::Array(values) => values.is_empty(),
        Value::Object(_) => false,
    }
}

/// Whether a value is a default that no field of the contract distinguishes from absence: its `optional` fields are
/// numbers.
fn is_never_present(value: &Value) -> bool {
    matches!(value, Value::Bool(false) | Value::Null) || [Value::from(""), Value::Array(Vec::new())].contains(value)
}

/// Whether a field has the same meaning as its absence.
fn is_as_absent(key: &str, value: &Value) -> bool {
    let is_written_out = DEFAULTS.iter().any(|(field, default)| *field == key && *default == text(value));
    let is_empty = |fields: &Map<String, Value>| fields.iter().all(|(key, value)| is_as_absent(key, value));
    is_default(value) || is_written_out || value.as_object().is_some_and(is_empty)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(expected: &Value, actual: &Value, rest: Rest) -> Vec<String> {
        differences(expected, actual, rest, &mut Bindings::new())
    }

    #[test]
    fn equal_values_in_different_forms_are_equal() {
        for (expected, actual) in [
            (json!({"a": [1, {"b": "x"}]}), json!({"a": [1, {"b": "x"}]})),
            (json!({"id": 7}), json!({"id": "7"})),
            (json!({"id": "*"}), json!({"id": "7"})),
            (json!({"a": 1}), json!({"a": 1, "b": 0, "c": "", "d": {}, "turn": {"wait_timeout": "30s"}})),
            (json!({"a": false}), json!({})),
        ] {
            assert_eq!(found(&expected, &actual, Rest::Default), [""; 0], "{expected} {actual}");
        }
    }

    #[test]
    fn each_difference_has_its_path() {
        let expected = json!({"a": [{"b": 1, "c": "*"}], "d": {}, "e": "0s"});
        let actual = json!({"a": [{"b": 2, "x": 3}]});
        let told = found(&expected, &actual, Rest::Default);
        assert_eq!(told.len(), 5, "{told:?}");
        assert!(told.iter().any(|line| line == ".a[0].b: 1 expected, got 2"), "{told:?}");
        assert_eq!(found(&expected, &actual, Rest::Any).len(), 4);
    }

    #[test]
    fn a_name_stands_for_one_value() {
        let mut bindings = Bindings::new();
        let pair = json!(["$a", "$a"]);
        assert!(differences(&pair, &json!([1, 1]), Rest::Default, &mut bindings).is_empty());
        assert_eq!(differences(&pair, &json!([1, 2]), Rest::Default, &mut bindings).len(), 1);
    }
}
