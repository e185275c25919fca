//! Habits that every file keeps, and documents that must not drift from the programs.

use std::io::Write;

use cardbroker_server::config::Config;

use super::sources;

/// How files whose names end so open with what they are.
const OPENINGS: &[(&str, &[&str])] = &[
    (".rs", &["//! "]),
    (".py", &["\"\"\""]),
    (".ts", &["/** ", "/**\n * "]),
    (".mjs", &["// ", "/**\n * "]),
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

#[test]
fn the_configurations_in_the_readme_are_good() {
    let readme = sources::text("README.md");
    let blocks: Vec<_> = readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(block.as_bytes()).unwrap();
        if let Err(error) = Config::load(Some(file.path())) {
            panic!("{error}\n{block}");
        }
    }
}

#[test]
fn the_programs_in_the_readme_are_the_clients_own_examples() {
    let readme = sources::text("README.md");
    let trimmed = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    for (language, example) in [
        ("python", "client/python/examples/first.py"),
        ("cpp", "client/cpp/examples/first.cpp"),
        ("js", "client/node/examples/read.mjs"),
    ] {
        let snippet = readme.split(&format!("```{language}\n")).nth(1).and_then(|rest| rest.split("```").next());
        let snippet = snippet.unwrap_or_else(|| panic!("README.md has no program in {language}"));
        assert!(trimmed(&sources::text(example)).contains(&trimmed(snippet)), "not in {example}:\n{snippet}");
    }
}

#[test]
fn the_exit_codes_in_the_readme_are_those_of_the_help() {
    let readme = sources::text("README.md");
    for source in ["client/cli/arguments.rs", "server/process/flags.rs"] {
        let help = sources::text(source);
        let codes = help.split("Exit codes:\n").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        assert!(readme.contains(codes), "README.md lacks the exit codes of {source}:\n{codes}");
    }
}
