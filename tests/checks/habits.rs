//! Habits that every file keeps, and documents that must not drift from the programs.

use std::io::Write;

use cardbroker_server::config::Config;

use super::sources;

#[test]
fn every_rust_file_opens_with_what_it_is() {
    let silent: Vec<_> = sources::rust().into_iter().filter(|(_, text)| !text.starts_with("//! ")).collect();
    assert!(silent.is_empty(), "{:?}", silent.iter().map(|(path, _)| path).collect::<Vec<_>>());
}

#[test]
fn no_file_names_a_machine_or_where_packages_come_from() {
    // In two halves, so that this file does not find itself.
    let forbidden = [
        concat!("/ro", "ot/"),
        concat!("/wo", "rk/"),
        concat!("/home", "/"),
        concat!("/tmp", "/wt/"),
        concat!("crates", ".io"),
        concat!("registry", ".npmjs"),
        concat!("deb", ".debian.org"),
        concat!("archive", ".ubuntu.com"),
    ];
    for (path, text) in sources::all() {
        for (number, line) in text.lines().enumerate() {
            let found = forbidden.iter().find(|needle| line.contains(**needle));
            assert!(found.is_none(), "{path}:{}: {}", number + 1, found.unwrap_or(&""));
        }
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
fn the_exit_codes_in_the_readme_are_those_of_the_help() {
    let readme = sources::text("README.md");
    for source in ["client/cli/mod.rs", "server/flags.rs"] {
        let help = sources::text(source);
        let codes = help.split("Exit codes:\n").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        assert!(readme.contains(codes), "README.md lacks the exit codes of {source}:\n{codes}");
    }
}
