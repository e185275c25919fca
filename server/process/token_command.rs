//! `cardbroker token`: creates, lists and removes the tokens of TCP clients. It changes only the tokens file that the
//! configuration names, and needs no running broker.

use std::{
    fs,
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
};

use cardbroker_core::error::Delivery;
use cardbroker_local::{
    private_file::{self, PrivateFileError},
    words::HERE,
};
use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use crate::{
    caller::{
        certificate::TlsIdentity,
        token_file::{TokenEntry, complete_file, fresh_token, is_token_name, token_entries, token_entry, token_hash},
    },
    config::{ConfigError, TcpPort},
};

/// Examples of `cardbroker token` and its commands.
const EXAMPLES: &str = "\
Examples:
  cardbroker token new build-7 --out build-7.token
  cardbroker token list
  cardbroker token remove build-7";
const NEW_EXAMPLES: &str = "\
Examples:
  cardbroker token new build-7 --out build-7.token
      a token file for a program of this user
  sudo cardbroker token new build-7 > build-7.token
      one of the system's broker
  cardbroker token new ci --address 192.0.2.7:7777 --json
      with the address of a port that a socket unit opens";
const LIST_EXAMPLES: &str = "\
Examples:
  cardbroker token list
  sudo cardbroker token list --json";
const REMOVE_EXAMPLES: &str = "\
Examples:
  cardbroker token remove build-7
  cardbroker token remove build-7 --tokens /srv/cards/tokens";

/// The arguments of `cardbroker token`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct TokenArguments {
    /// Write JSON instead of text, errors included.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum TokenCommand {
    /// Create a token and print it, followed by the broker's certificate. The broker's tokens file gets its name and
    /// hash.
    #[command(after_help = NEW_EXAMPLES)]
    New {
        /// The holder's name: 1 to 64 lower-case letters, digits and hyphens.
        #[arg(value_parser = name)]
        name: String,
        /// Write token and certificate into this new file, readable by its owner only, instead of printing them.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Leave out the certificate: the token is for plain TCP (the broker's listen.tcp_plain).
        #[arg(long)]
        plain: bool,
        /// The broker's address on TCP, for example 192.0.2.7:7777, which its certificate then names. Only needed if a
        /// socket unit opens the port (ListenStream=), and only for clients that are not Cardbroker's own. [default:
        /// listen.tcp of the broker's configuration]
        #[arg(long, value_name = "ADDRESS", value_parser = address, conflicts_with = "plain")]
        address: Option<SocketAddr>,
        #[command(flatten)]
        file: TokensFile,
    },
    /// List the names of all tokens.
    #[command(after_help = LIST_EXAMPLES)]
    List {
        #[command(flatten)]
        file: TokensFile,
    },
    /// Remove a token from the tokens file.
    #[command(after_help = REMOVE_EXAMPLES)]
    Remove {
        /// The name of the token to remove.
        #[arg(value_parser = name)]
        name: String,
        #[command(flatten)]
        file: TokensFile,
    },
}

#[derive(Debug, Clone, clap::Args)]
struct TokensFile {
    /// The broker's tokens file [default: listen.tokens of the broker's configuration].
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The arguments are invalid, or a file cannot be used.
    #[error("{0}")]
    Usage(String),
    /// Writing the output failed, for example because the disk is full.
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// The exit code of the failure, as in `cardbroker`.
    fn exit(&self) -> u8 {
        match self {
            // The reader of the pipe has closed it.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Output(_) => 1,
            Self::Usage(_) => 2,
        }
    }

    /// Writes one line, or one JSON object, without control characters.
    fn report(&self, json: bool, err: &mut dyn Write) {
        if self.exit() == 0 {
            return;
        }
        let message = self.to_string().replace(char::is_control, "\u{FFFD}");
        let delivery = Delivery::NotSent.as_str();
        // If standard error is closed, the exit code remains.
        let _ = match json {
            true => write_line(err, &json!({ "error": { "reason": null, "message": message, "delivery": delivery } })),
            false => writeln!(err, "cardbroker: {message}"),
        };
    }
}

impl TokenArguments {
    /// Runs the command on the tokens file, and writes the result or the failure. `configured` is the daemon's own
    /// file, which counts if the command names none; a new certificate names `address`, that of the daemon's port.
    /// Returns the exit code.
    pub fn run(
        &self,
        configured: impl Fn() -> Result<PathBuf, ConfigError>,
        address: impl Fn() -> Option<IpAddr>,
        out: &mut dyn Write,
        err: &mut dyn Write,
    ) -> ExitCode {
        let screen = &mut Screen { out, err, json: self.json };
        let path = |file: &TokensFile| match &file.tokens {
            Some(path) => Ok(path.clone()),
            None => configured().map_err(|problem| Failure::Usage(format!("{problem} (or name it: --tokens FILE)"))),
        };
        let mut run = || match &self.command {
            TokenCommand::New { name, out, plain, address: named, file } => {
                let tokens = path(file)?;
                let named = named.map(|named| named.ip());
                let identity = || identity(&tokens, named, named.or_else(&address));
                new(name.clone(), out.as_deref(), (!*plain).then_some(&identity), &tokens, screen)
            }
            TokenCommand::List { file } => list(&path(file)?, screen),
            TokenCommand::Remove { name, file } => remove(name, &path(file)?, screen),
        };
        let done = run();
        done.map_or_else(
            |failure| {
                failure.report(self.json, screen.err);
                failure.exit().into()
            },
            |()| ExitCode::SUCCESS,
        )
    }
}

/// The outputs of the command, and their form.
struct Screen<'a> {
    /// Standard output, for results only.
    out: &'a mut dyn Write,
    /// Standard error: errors and hints.
    err: &'a mut dyn Write,
    /// Whether both are written as JSON.
    json: bool,
}

/// The broker's certificate, made for `address` if there is none. One that the command line has `named` must be in it.
fn identity(tokens: &Path, named: Option<IpAddr>, address: Option<IpAddr>) -> Result<TlsIdentity, Failure> {
    let read = TlsIdentity::read_or_make_as_administrator(tokens, address);
    let identity = read.map_err(|error| Failure::Usage(error.to_string()))?;
    match named {
        Some(named) if !identity.names(named) => Err(Failure::Usage(format!(
            "the certificate {} does not name {named}, because it was made without it: remove it, make all token files \
             again, and restart the broker; or leave --address out, for Cardbroker's own clients accept it as it is",
            identity.path.display()
        ))),
        _ => Ok(identity),
    }
}

/// Adds a token, with the certificate of `identity` unless it is for plain TCP.
fn new(
    name: String,
    out: Option<&Path>,
    identity: Option<&dyn Fn() -> Result<TlsIdentity, Failure>>,
    tokens: &Path,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let _lock = lock(tokens)?;
    let text = match private_file::read_to_edit(tokens) {
        Err(PrivateFileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Zeroizing::default(),
        read => read.map_err(|error| unusable(tokens, &error))?,
    };
    if entries(tokens, &text)?.iter().any(|entry| entry.name == name) {
        let tokens = tokens.display();
        return Err(Failure::Usage(format!("{tokens} has a token {name} already: remove it or use another name")));
    }
    let identity = identity.map(|identity| identity()).transpose()?;
    let certificate = identity.map(|identity| identity.certificate_pem);
    let token = fresh_token().map_err(|error| Failure::Usage(format!("no random numbers: {error}")))?;
    let held = Zeroizing::new(format!("{}\n{}", *token, certificate.as_deref().unwrap_or_default()));
    if let Some(out) = out {
        let mut file = private_file::create_new(out);
        file.as_mut().map_err(|error| unwritable(out, error))?.write_all(held.as_bytes())?;
    }
    let entry = TokenEntry { name, hash: token_hash(token.as_bytes()) };
    let line_end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    if let Err(error) = replace(tokens, &format!("{}{line_end}{entry}\n", *text)) {
        // The broker does not know this token, so it is useless.
        let _ = out.map(fs::remove_file);
        return Err(unwritable(tokens, &error));
    }
    match (screen.json, out) {
        (true, _) => write_line(
            screen.out,
            &json!({
                "name": entry.name,
                "token": out.is_none().then_some(&*token),
                "certificate": certificate,
                "token_file": out,
                "tokens_file": tokens,
            }),
        )?,
        (false, None) => screen.out.write_all(held.as_bytes())?,
        (false, Some(_)) => {}
    }
    let place = out.map_or_else(|| HERE.private_place.to_owned(), |out| out.display().to_string());
    writeln!(
        screen.err,
        "added {name} to {}: allow token:{name} in a [[rule]], restart the broker or run \"cardbroker reload\"; \
         clients name {place} with --token-file or CARDBROKER_TOKEN_FILE",
        tokens.display(),
        name = entry.name,
    )?;
    Ok(())
}

fn list(tokens: &Path, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let text = private_file::read_as_administrator(tokens).map_err(|error| unusable(tokens, &error))?;
    let names: Vec<_> = entries(tokens, &text)?.into_iter().map(|entry| entry.name).collect();
    if screen.json {
        write_line(screen.out, &names)?;
    } else {
        names.iter().try_for_each(|name| writeln!(screen.out, "{name}"))?;
    }
    Ok(())
}

fn remove(name: &str, tokens: &Path, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let _lock = lock(tokens)?;
    let text = private_file::read_to_edit(tokens).map_err(|error| unusable(tokens, &error))?;
    if !entries(tokens, &text)?.iter().any(|entry| entry.name == name) {
        return Err(Failure::Usage(format!("{} has no token {name}", tokens.display())));
    }
    let is_other = |line: &&str| !matches!(token_entry(line), Ok(Some(entry)) if entry.name == name);
    let rest: String = text.split_inclusive('\n').filter(is_other).collect();
    replace(tokens, &rest).map_err(|error| unwritable(tokens, &error))?;
    if screen.json {
        write_line(screen.out, &json!({ "name": name, "tokens_file": tokens }))?;
    }
    let tokens = tokens.display();
    writeln!(
        screen.err,
        "removed {name} from {tokens}: restart the broker or run \"cardbroker reload\", until then it is valid"
    )?;
    Ok(())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    match text.parse()? {
        TcpPort::At(address) => Ok(address),
        TcpPort::Auto => Err("is always 127.0.0.1, which the certificate names: leave it out".to_owned()),
    }
}

fn name(text: &str) -> Result<String, &'static str> {
    let name = is_token_name(text).then(|| text.to_owned());
    name.ok_or("a token's name has 1 to 64 lower-case letters, digits and hyphens")
}

fn entries(tokens: &Path, text: &str) -> Result<Vec<TokenEntry>, Failure> {
    token_entries(text.as_bytes()).map_err(|error| Failure::Usage(format!("{}: {error}", tokens.display())))
}

/// Keeps other commands from editing the tokens file until the result is dropped. Makes its missing folders,
/// accessible by their owner only.
fn lock(tokens: &Path) -> Result<impl Sized + use<>, Failure> {
    let folder = private_file::folder_of(tokens);
    let locked = private_file::create_folder(folder).and_then(|()| private_file::lock_folder(folder));
    locked.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => Failure::Usage(format!("another command edits {}: try again", tokens.display())),
        _ => unwritable(tokens, &error),
    })
}

/// Replaces the tokens file by a new one with the same owner. A daemon that reads meanwhile gets the old or the new
/// one, whole, and no link is followed.
fn replace(tokens: &Path, text: &str) -> io::Result<()> {
    complete_file(tokens, text)?.persist(tokens).map(drop).map_err(|error| error.error)
}

fn unusable(path: &Path, error: &PrivateFileError) -> Failure {
    Failure::Usage(format!("{} {error}", path.display()))
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::Usage(format!("{} cannot be written: {error}", path.display()))
}

fn write_line(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)
}

#[cfg(test)]
mod tests;
