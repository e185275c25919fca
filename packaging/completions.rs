//! Completions for bash, zsh and fish, in a folder for each shell.

use std::{fs, path::Path};

use cardbroker_server::process::flags::Flags;
use clap::CommandFactory;
use clap_complete::{
    Shell,
    env::{Bash, EnvCompleter, Fish, Zsh},
};

/// A shell, with the name of the file for a program.
type Home = (&'static dyn EnvCompleter, Shell, fn(&str) -> String);

const HOMES: [Home; 3] = [
    (&Bash, Shell::Bash, |program| program.into()),
    (&Zsh, Shell::Zsh, |program| format!("_{program}")),
    (&Fish, Shell::Fish, |program| format!("{program}.fish")),
];

/// Writes the completions of both programs.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn write(folder: &Path) -> anyhow::Result<()> {
    for (live, shell, file) in HOMES {
        let folder = folder.join(live.name());
        fs::create_dir_all(&folder)?;
        // Asks the program, which asks the broker for its readers.
        let mut script = Vec::new();
        live.write_registration("COMPLETE", "cardbroker", "cardbroker", "cardbroker", &mut script)?;
        if live.name() == "zsh" {
            // zsh loads the file at the first Tab, as a function that must also complete.
            script.extend(b"[ \"$funcstack[1]\" = _cardbroker ] && _clap_dynamic_completer_cardbroker \"$@\"\n");
        }
        fs::write(folder.join(file("cardbroker")), script)?;
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Flags::command(), "cardbrokerd", &mut script);
        fs::write(folder.join(file("cardbrokerd")), script)?;
    }
    Ok(())
}
