//! The manual pages: of both programs and their subcommands, from their arguments, and of the configuration.

use std::{fs, path::Path};

use anyhow::Context;
use cardbroker_server::{config::Config, process::flags::Flags};
use clap::{Command, CommandFactory};
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

/// Subcommands whose arguments the daemon's program defines.
const OF_DAEMON: [&str; 2] = ["policy", "token"];

/// Writes all pages into a folder.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn write(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let daemon = Flags::command();
    let mut program = cardbroker_cli::command();
    for name in OF_DAEMON {
        let arguments = daemon.find_subcommand(name).context("the daemon lacks a subcommand")?.clone();
        program = program.mut_subcommand(name, |_| arguments);
    }
    pages(program, "1", folder)?;
    pages(daemon.mut_subcommands(|command| command.hide(true)), "8", folder)?;
    Ok(fs::write(folder.join("cardbrokerd.toml.5"), configuration().to_roff())?)
}

/// Writes the page of a program, and one for each subcommand that is not hidden.
fn pages(program: Command, section: &str, folder: &Path) -> anyhow::Result<()> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    page(&program, program.get_name(), section, folder)
}

fn page(command: &Command, name: &str, section: &str, folder: &Path) -> anyhow::Result<()> {
    fs::write(folder.join(format!("{name}.{section}")), text(command, name, section)?)?;
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        page(inner, &format!("{name}-{}", inner.get_name()), section, folder)?;
    }
    Ok(())
}

fn text(command: &Command, name: &str, section: &str) -> anyhow::Result<Vec<u8>> {
    let notes = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string);
    let command = command.clone().display_name(name).after_help("").after_long_help("");
    let has_subcommands = command.get_subcommands().any(|inner| !inner.is_hide_set());
    let man = Man::new(command)
        .section(section)
        .manual("Cardbroker")
        .source(concat!("cardbroker ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if has_subcommands {
        man.render_subcommands_section(&mut text)?;
    }
    sections(&notes.unwrap_or_default()).to_writer(&mut text)?;
    Ok(text)
}

/// The paragraphs of the help's end: a heading with indented lines becomes a section, in which lines stay as they are.
fn sections(notes: &str) -> Roff {
    let mut roff = Roff::new();
    for paragraph in notes.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        match paragraph.split_once(":\n") {
            Some((heading, lines)) if lines.starts_with(' ') => {
                roff.control("SH", [&*heading.to_uppercase()]).control("nf", []);
                lines.lines().for_each(|line| {
                    roff.text([roman(line)]);
                });
                roff.control("fi", []);
            }
            _ => {
                roff.control("PP", []).text([roman(paragraph)]);
            }
        }
    }
    roff
}

/// The page of the configuration file: the commented example.
fn configuration() -> Roff {
    let mut roff = Roff::new();
    roff.control("TH", ["cardbrokerd.toml", "5", "", concat!("cardbroker ", env!("CARGO_PKG_VERSION")), "Cardbroker"]);
    roff.control("SH", ["NAME"]).text([roman("cardbrokerd.toml - configuration of the smart-card broker")]);
    roff.control("SH", ["DESCRIPTION"]);
    roff.text([roman("All keys, with their defaults. The file is in TOML; cardbrokerd --check-config checks it.")]);
    roff.control("nf", []);
    for line in Config::example().lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff
}
