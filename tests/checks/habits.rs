//! Habits that every file keeps.

use super::sources;

/// How files whose names end so open with what they are.
const OPENINGS: &[(&str, &[&str])] = &[
    (".rs", &["//! "]),
    (".py", &["\"\"\""]),
    (".ts", &["/** ", "/**\n * "]),
    (".mjs", &["// ", "/**\n * "]),
    (".c", &["// "]),
    (".cpp", &["// "]),
    (".h", &["// "]),
    (".sh", &["#!/bin/sh\n# "]),
    (".cmake", &["# "]),
    ("CMakeLists.txt", &["# "]),
];

#[test]
fn every_source_file_opens_with_what_it_is() {
    let is_silent = |path: &str, text: &str| {
        let kind = OPENINGS.iter().find(|(ending, _)| path.ends_with(ending));
        kind.is_some_and(|(_, openings)| !openings.iter().any(|opening| text.starts_with(opening)))
    };
    let silent: Vec<_> = sources::all().into_iter().filter(|(path, text)| is_silent(path, text)).collect();
    assert!(silent.is_empty(), "{:?}", silent.iter().map(|(path, _)| path).collect::<Vec<_>>());
}

#[test]
fn no_file_names_a_path_of_a_developers_machine() {
    // In two halves, so that this file does not find itself.
    let homes = [concat!("/ro", "ot/"), concat!("/home", "/"), concat!("/Use", "rs/")].map(str::to_owned);
    let checkout = sources::root().canonicalize().unwrap().display().to_string();
    let forbidden: Vec<_> = homes.into_iter().chain([checkout]).collect();
    for (path, text) in sources::all() {
        for (number, line) in text.lines().enumerate() {
            let found = forbidden.iter().find(|needle| line.contains(*needle));
            assert!(found.is_none(), "{path}:{}: {}", number + 1, found.unwrap());
        }
    }
}

#[test]
fn the_benchmarks_are_a_generated_document() {
    let path = "docs/benchmarks.md";
    if let Some((_, text)) = sources::all().into_iter().find(|(file, _)| file == path) {
        let head = "<!-- Written by make bench. Do not edit. -->\n";
        assert!(text.starts_with(head), "{path} does not begin with {head}: run make bench");
    }
}
