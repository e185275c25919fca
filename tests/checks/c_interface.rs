//! The C interface has the contract's enums, generated from its text, and its functions catch panics.

use std::{env, fmt::Write, fs};

use super::sources;

const PROTO: &str = "proto/cardbroker/v1/";

/// An enum of the contract.
struct Enum {
    name: String,
    values: Vec<Value>,
}

/// A value of an enum; the name is without the enum's: `NO_CARD`.
struct Value {
    name: String,
    number: u32,
    comment: Vec<String>,
}

/// The name in capitals: `ErrorReason` becomes `ERROR_REASON`.
fn in_capitals(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push('_');
        }
        words.push(letter.to_ascii_uppercase());
    }
    words
}

/// The name in camel case: `NO_CARD` becomes `NoCard`.
fn in_camel_case(name: &str) -> String {
    let word = |word: &str| word[..1].to_owned() + &word[1..].to_lowercase();
    name.split('_').map(word).collect()
}

/// The enums in a file of the contract, in order.
fn enums(text: &str) -> Vec<Enum> {
    let mut found: Vec<Enum> = Vec::new();
    let mut comment = Vec::new();
    let mut is_inside = false;
    for line in text.lines() {
        if let Some(words) = line.trim_start().strip_prefix("//") {
            comment.push(words.trim_start().to_owned());
            continue;
        }
        let comment = std::mem::take(&mut comment);
        if let Some(name) = line.strip_prefix("enum ").and_then(|rest| rest.strip_suffix(" {")) {
            found.push(Enum { name: name.to_owned(), values: Vec::new() });
            is_inside = true;
        } else if line == "}" {
            is_inside = false;
        } else if is_inside && let Some(last) = found.last_mut() {
            let prefix = in_capitals(&last.name) + "_";
            let value = line.trim().strip_prefix(&prefix).and_then(|value| value.split_once(" = "));
            let Some((name, number)) = value else { continue };
            let number = number.split([';', ' ']).next().unwrap_or_default().parse().unwrap();
            last.values.push(Value { name: name.to_owned(), number, comment });
        }
    }
    found
}

/// All enums of the contract, and the codes of gRPC.
fn all() -> Vec<Enum> {
    let files = sources::all().into_iter().filter(|(path, _)| path.starts_with(PROTO) && path.ends_with(".proto"));
    files.flat_map(|(_, text)| enums(&text)).collect()
}

/// The codes of google.rpc.Code, in order.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

fn with_codes() -> Vec<Enum> {
    let value = |(number, name): (u32, &str)| Value { name: name.to_owned(), number, comment: Vec::new() };
    let values = (0..).zip(CODES).map(value).collect();
    let mut enums = vec![Enum { name: "Code".to_owned(), values }];
    enums.extend(all());
    enums
}

/// The constants for the crate, from which its header has them.
fn constants() -> String {
    let mut text =
        String::from("//! The constants of the contract's enums. Generated from proto/cardbroker/v1 by a check.\n\n");
    text.push_str(
        "#![allow(dead_code, missing_docs, reason = \"generated: C uses them, the contract has comments\")]\n",
    );
    for one in with_codes() {
        let prefix = in_capitals(&one.name);
        text.push('\n');
        for value in &one.values {
            // Shorter comments say no more than the name, by the rule for all sources.
            if value.comment.iter().map(|line| line.split_whitespace().count()).sum::<usize>() >= 5 {
                value.comment.iter().for_each(|line| writeln!(text, "/// {line}").unwrap());
            }
            writeln!(text, "pub const CARDBROKER_{prefix}_{}: i32 = {};", value.name, value.number).unwrap();
        }
    }
    text
}

/// The enums for C++, with the names of the client in client/cpp.
fn classes() -> String {
    let mut text = String::from(
        "// The contract's enums for C++; cardbroker.h documents their values. Generated from proto/cardbroker/v1.\n\
         #pragma once\n\n#include <ostream>\n#include <string>\n\nnamespace cardbroker {\n",
    );
    for one in with_codes() {
        let name = if one.name == "Code" { "StatusCode" } else { &one.name };
        writeln!(text, "\nenum class {name} : int {{").unwrap();
        for value in &one.values {
            writeln!(text, "    {} = {},", in_camel_case(&value.name), value.number).unwrap();
        }
        writeln!(text, "}};\n\n/// The short name in capitals; the number of an unknown value.").unwrap();
        writeln!(text, "inline std::string to_string({name} value) {{\n    switch (value) {{").unwrap();
        for value in &one.values {
            writeln!(text, "        case {name}::{}:", in_camel_case(&value.name)).unwrap();
            writeln!(text, "            return \"{}\";", value.name).unwrap();
        }
        writeln!(text, "    }}\n    return std::to_string(static_cast<int>(value));\n}}").unwrap();
        writeln!(
            text,
            "inline std::ostream& operator<<(std::ostream& out, {name} value) {{ return out << to_string(value); }}"
        )
        .unwrap();
    }
    text + "\n}  // namespace cardbroker\n"
}

#[test]
fn the_c_interface_has_the_contracts_enums() {
    for (path, text) in [("client/c/constants.rs", constants()), ("client/c/include/cardbroker_enums.hpp", classes())] {
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(sources::root().join(path), &text).unwrap();
        }
        assert!(sources::text(path) == text, "{path} is not that of the contract: run with UPDATE_GOLDEN=1");
    }
}

#[test]
fn the_enums_of_a_file_are_read_with_their_comments() {
    let text =
        "// One.\nenum ErrorReason {\n  ERROR_REASON_UNSPECIFIED = 0;\n  // Two.\n  ERROR_REASON_NO_CARD = 5 [x];\n}\n";
    let [one] = &enums(text)[..] else { panic!("not one") };
    let values: Vec<_> = one.values.iter().map(|value| (&*value.name, value.number, value.comment.len())).collect();
    assert_eq!(values, [("UNSPECIFIED", 0, 0), ("NO_CARD", 5, 1)]);
    assert_eq!(
        (in_capitals("PinPadOperation"), in_camel_case("NO_CARD")),
        ("PIN_PAD_OPERATION".into(), "NoCard".into())
    );
}

/// The functions for C in a source whose bodies do not begin with one of the border's, by name.
fn unguarded(source: &str) -> Vec<String> {
    let functions = source.split("#[unsafe(no_mangle)]\n").skip(1);
    let found = functions.filter_map(|function| {
        let name = function.split("extern \"C\" fn ").nth(1)?.split('(').next()?;
        let body = function.split_once(" {\n")?.1.trim_start();
        let is_guarded = ["call(error,", "value(", "flag(", "set(change(", "set_apdu(", "set_pin_pad("].iter();
        (!is_guarded.into_iter().any(|guard| body.starts_with(guard))).then(|| name.to_owned())
    });
    found.collect()
}

#[test]
fn every_function_for_c_catches_panics() {
    let mut functions = 0;
    for (path, text) in sources::rust().iter().filter(|(path, _)| path.starts_with("client/c/")) {
        functions += text.matches("#[unsafe(no_mangle)]\n").count();
        assert_eq!(unguarded(text), [""; 0], "{path}");
    }
    assert!(functions > 50, "{functions}");
    let planted =
        "#[unsafe(no_mangle)]\npub extern \"C\" fn cardbroker_f(x: i32) -> i32 {\n    call(error, || g());\n}\n";
    assert_eq!(unguarded(planted), [""; 0]);
    assert_eq!(unguarded(&planted.replace("call(error, ", "g(")), ["cardbroker_f"]);
}
