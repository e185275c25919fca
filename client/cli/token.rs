//! `cardbroker token`: makes, lists and removes the tokens that open the broker's TCP port. Works on the tokens file;
//! no broker is asked.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use cardbroker_client::hex;
use cardbroker_proto::{
    private_file::{self, PrivateFileError},
    token::{TokenEntry, default_tokens, is_token_name, token_entries, token_entry, token_hash},
};
use clap::{Args, Subcommand};
use serde_json::json;
use zeroize::Zeroizing;

use super::{Failure, Screen, json};

/// The random bytes of a token.
const TOKEN_BYTES: usize = 32;

#[derive(Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print it. The broker's tokens file gets its name and hash.
    New {
        /// Who is to hold it: 1 to 64 lower-case letters, digits and hyphens.
        #[arg(value_parser = name)]
        name: String,
        /// Write the token into this new file, for its owner alone, instead of printing it.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        file: TokensFile,
    },
    /// List the names of all tokens.
    List {
        #[command(flatten)]
        file: TokensFile,
    },
    /// Remove a token.
    Remove {
        /// Whose.
        #[arg(value_parser = name)]
        name: String,
        #[command(flatten)]
        file: TokensFile,
    },
}

#[derive(Args)]
pub(crate) struct TokensFile {
    /// The broker's tokens file (its listen.tokens) [default: ~/.config/cardbroker/tokens, for root
    /// /etc/cardbroker/tokens].
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
}

pub(crate) fn run(command: TokenCommand, json: bool, screen: &mut Screen<'_>) -> Result<(), Failure> {
    match command {
        TokenCommand::New { name, out, file } => new(name, out.as_deref(), &file.path(), json, screen),
        TokenCommand::List { file } => list(&file.path(), json, screen),
        TokenCommand::Remove { name, file } => remove(&name, &file.path(), json, screen),
    }
}

fn new(name: String, out: Option<&Path>, tokens: &Path, json: bool, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let text = match private_file::read(tokens) {
        Err(PrivateFileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Zeroizing::default(),
        read => read.map_err(|error| unusable(tokens, &error))?,
    };
    if entries(tokens, &text)?.iter().any(|entry| entry.name == name) {
        let tokens = tokens.display();
        return Err(Failure::Usage(format!("{tokens} has a token {name} already: remove it or take another name")));
    }
    let token = random_token()?;
    if let Some(out) = out {
        let mut file = private_file::create_options().write(true).create_new(true).open(out);
        writeln!(file.as_mut().map_err(|error| unwritable(out, error))?, "{}", *token)?;
    }
    let entry = TokenEntry { name, hash: token_hash(token.as_bytes()) };
    let line_end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    if let Err(error) = append(tokens, &format!("{line_end}{entry}\n")) {
        // A token that no broker knows is of no use.
        let _ = out.map(fs::remove_file);
        return Err(unwritable(tokens, &error));
    }
    match (json, out) {
        (true, _) => json::write_line(
            screen.out,
            &json!({
                "name": entry.name,
                "token": out.is_none().then_some(&*token),
                "token_file": out,
                "tokens_file": tokens,
            }),
        )?,
        (false, None) => writeln!(screen.out, "{}", *token)?,
        (false, Some(_)) => {}
    }
    let place = out.map_or_else(|| "a file of theirs (mode 0600)".to_owned(), |out| out.display().to_string());
    writeln!(
        screen.err,
        "added {name} to {}: say in a [[rule]] what token:{name} may do, restart the broker or send it SIGHUP; clients name \
         {place} with --token-file or CARDBROKER_TOKEN_FILE",
        tokens.display(),
        name = entry.name,
    )?;
    Ok(())
}

fn list(tokens: &Path, json: bool, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let text = private_file::read(tokens).map_err(|error| unusable(tokens, &error))?;
    let names: Vec<_> = entries(tokens, &text)?.into_iter().map(|entry| entry.name).collect();
    if json {
        json::write_line(screen.out, &names)?;
    } else {
        names.iter().try_for_each(|name| writeln!(screen.out, "{name}"))?;
    }
    Ok(())
}

fn remove(name: &str, tokens: &Path, json: bool, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let text = private_file::read(tokens).map_err(|error| unusable(tokens, &error))?;
    if !entries(tokens, &text)?.iter().any(|entry| entry.name == name) {
        return Err(Failure::Usage(format!("{} has no token {name}", tokens.display())));
    }
    let is_other = |line: &&str| !matches!(token_entry(line), Ok(Some(entry)) if entry.name == name);
    let rest: String = text.split_inclusive('\n').filter(is_other).collect();
    // In place, so that the file keeps its owner.
    fs::write(tokens, rest).map_err(|error| unwritable(tokens, &error))?;
    if json {
        json::write_line(screen.out, &json!({ "name": name, "tokens_file": tokens }))?;
    }
    let tokens = tokens.display();
    writeln!(screen.err, "removed {name} from {tokens}: restart the broker or send it SIGHUP, until then it is valid")?;
    Ok(())
}

impl TokensFile {
    fn path(self) -> PathBuf {
        self.tokens.unwrap_or_else(default_tokens)
    }
}

fn name(text: &str) -> Result<String, &'static str> {
    let name = is_token_name(text).then(|| text.to_owned());
    name.ok_or("a token's name has 1 to 64 lower-case letters, digits and hyphens")
}

fn entries(tokens: &Path, text: &str) -> Result<Vec<TokenEntry>, Failure> {
    token_entries(text).map_err(|error| Failure::Usage(format!("{}: {error}", tokens.display())))
}

fn random_token() -> Result<Zeroizing<String>, Failure> {
    let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
    getrandom::fill(&mut *bytes).map_err(|error| Failure::Usage(format!("no random numbers: {error}")))?;
    Ok(Zeroizing::new(hex::format(&*bytes)))
}

/// Adds to a file that may not be there yet, nor its folders; they are for their owner alone then.
fn append(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(folder)?;
    }
    let mut options: OpenOptions = private_file::create_options();
    options.append(true).create(true).open(path)?.write_all(text.as_bytes())
}

fn unusable(path: &Path, error: &PrivateFileError) -> Failure {
    Failure::Usage(format!("{} {error}", path.display()))
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::Usage(format!("{} cannot be written: {error}", path.display()))
}
