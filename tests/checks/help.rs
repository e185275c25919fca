//! The help of both programs, of each command and subcommand.

use cardbroker_server::process::flags::Flags;
use clap::{Command, CommandFactory};

/// The columns of the narrowest usual terminal.
const WIDTH: usize = 80;

/// More options than that need headings.
const MAX_OPTIONS: usize = 8;

/// All commands of both programs, each with its path.
fn commands() -> Vec<(String, Command)> {
    let mut all = Vec::new();
    for mut program in [cardbroker_cli::command(), Flags::command()] {
        program.build();
        walk(program, "", &mut all);
    }
    all
}

fn walk(command: Command, path: &str, all: &mut Vec<(String, Command)>) {
    // The command that prints the help of the others.
    if command.get_name() == "help" {
        return;
    }
    let path = format!("{path} {}", command.get_name());
    command.get_subcommands().for_each(|inner| walk(inner.clone(), &path, all));
    all.push((path, command));
}

/// The short and the long help for a terminal of this width.
fn helps(command: &Command, width: usize) -> [String; 2] {
    let mut command = command.clone().term_width(width).max_term_width(width);
    [command.render_help().to_string(), command.render_long_help().to_string()]
}

#[test]
fn help_wraps_at_words() {
    for (path, command) in commands() {
        for (narrow, wide) in helps(&command, WIDTH).iter().zip(helps(&command, 10_000)) {
            let too_long = narrow.lines().find(|line| line.chars().count() > WIDTH);
            assert_eq!(too_long, None, "{path}");
            assert!(narrow.split_whitespace().eq(wide.split_whitespace()), "{path}: a word is broken: {narrow}");
        }
    }
}

#[test]
fn each_help_has_examples_of_its_command() {
    for (path, command) in commands() {
        let [_, help] = helps(&command, WIDTH);
        let (_, examples) = help.split_once("Examples:\n").unwrap_or_else(|| panic!("no examples: {path}"));
        let words: Vec<_> = path.split_whitespace().collect();
        // The daemon's subcommands are known as those of the command line.
        let own = match words[..] {
            ["cardbrokerd", ref inner @ ..] if !inner.is_empty() => &words[1..],
            _ => &words[..],
        };
        let is_own = |line: &str| line.starts_with("  ") && own.iter().all(|word| line.contains(word));
        assert!(examples.lines().any(is_own), "{path}: {examples}");
    }
}

#[test]
fn options_are_in_groups() {
    for (path, command) in commands() {
        let mut headings = std::collections::BTreeMap::<_, usize>::new();
        for option in command.get_arguments().filter(|option| !option.is_positional() && !option.is_hide_set()) {
            *headings.entry(option.get_help_heading().unwrap_or("Options").to_owned()).or_default() += 1;
        }
        let crowded: Vec<_> = headings.iter().filter(|(_, count)| **count > MAX_OPTIONS).collect();
        assert!(crowded.is_empty(), "{path}: {crowded:?}");
    }
}
