//! Any text as a configuration: its printed form parses to the same, or it is refused with a place in the file, in one
//! line.

#![no_main]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a target reports a fault by a panic")]

use std::path::Path;

use cardbroker_server::config::{Config, ConfigError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let path = Path::new("c.toml");
    match Config::parse(path, text) {
        Ok(config) => {
            let printed = config.to_string();
            match Config::parse(path, &printed) {
                Ok(mut again) => {
                    // The digest is that of the text, which is another one.
                    again.source.clone_from(&config.source);
                    assert_eq!(again, config, "{printed}");
                }
                Err(error) => panic!("{error}\n{printed}"),
            }
        }
        Err(error) => {
            let told = error.to_string();
            assert!(!told.chars().any(char::is_control), "{told:?}");
            let ConfigError::Invalid { line, column, message, .. } = error else { panic!("{told}") };
            // The end of the file is a place, too.
            let here = text.split('\n').nth(line - 1).unwrap_or_else(|| panic!("no such line: {told}"));
            assert!((1..=here.chars().count() + 1).contains(&column), "no such column: {told}");
            assert!(!message.is_empty());
        }
    }
});
