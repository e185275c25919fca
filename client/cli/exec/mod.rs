//! `cardbroker exec`: runs a program whose calls to the broker, and those of its children, are one isolation group.

mod child;
mod signals;

use std::{ffi::OsString, io, process::ExitCode, time::Duration};

use cardbroker_client::{
    Client, ConnectOptions, Delivery, Door, ENDPOINT_VARIABLE, Endpoint, ErrorReason, GROUP_VARIABLE,
    TOKEN_FILE_VARIABLE,
};
use clap::{Args, ValueHint};
use tokio::time::sleep;

use self::{child::Child, signals::Signals};
use super::{Failure, Screen};

/// The variable by which libpcsclite finds the door.
const DOOR_VARIABLE: &str = "PCSCLITE_CSOCK_NAME";

/// The exit codes of shells for a program that is not there, and for one that cannot be run.
const NOT_FOUND: u8 = 127;
const NOT_RUN: u8 = 126;

/// The pause before a lost connection is opened again.
const PAUSE: Duration = Duration::from_secs(1);

/// Run a program that finds the broker by its environment, and wait for its end.
///
/// The program and its children are one isolation group: they share verified PINs, until the program ends. Programs
/// that use PC/SC take part by the broker's door.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct ExecArguments {
    /// Open a door for this program alone: programs that use PC/SC belong to the isolation group, too. It is closed
    /// when the program ends. Other programs of this user could use it.
    #[arg(long)]
    private: bool,
    /// The program with its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM",
          value_hint = ValueHint::CommandWithArguments)]
    program: Vec<OsString>,
}

const HELP: &str = "\
Examples:
  cardbroker exec -- ./sign-all.sh
  cardbroker exec -- opensc-tool --list-readers
  cardbroker exec --private -- pkcs11-tool --login --sign -i text -o signature

Sets PCSCLITE_CSOCK_NAME, CARDBROKER_ENDPOINT and a new CARDBROKER_GROUP.

Signals are passed on. Exit codes are those of the program; 128 and the number
of the signal that ended it; 127 if it was not found, 126 if it cannot be run;
and those of cardbroker if the program was not started.";

/// Connects to the broker and runs the program.
///
/// # Errors
/// The broker is not reachable, or has no private door: the program was not started.
pub(crate) async fn run(
    endpoint: Option<Endpoint>,
    options: ConnectOptions,
    arguments: ExecArguments,
    screen: &mut Screen<'_>,
) -> Result<ExitCode, Failure> {
    // Before anything that a signal could leave behind.
    let mut signals = Signals::block()?;
    let group = fresh_group()?;
    let token_file = options.token_file.clone();
    let options = ConnectOptions { group: Some(group.clone()), ..options };
    let is_private = arguments.private;
    let opened = async {
        let client = match endpoint {
            Some(endpoint) => Client::connect_with(endpoint, options).await?,
            None => Client::find(options).await?,
        };
        match client.open_door(is_private).await {
            Ok(door) => Ok((client, Some(door))),
            Err(error) if error.reason() == Some(ErrorReason::NotImplemented) && !is_private => {
                // Joins the group, as the door's call would have.
                client.broker().await?;
                writeln!(screen.err, "cardbroker: warning: programs that use PC/SC bypass the broker: {error}")?;
                Ok((client, None))
            }
            Err(error) => Err(Failure::from(error)),
        }
    };
    let (client, door) = tokio::select! {
        opened = opened => opened?,
        () = signals.any() => return Err(Failure::Interrupted(Delivery::NotSent)),
    };
    let [program, ..] = &arguments.program[..] else { return Err(Failure::Usage("no program".to_owned())) };
    let endpoint = OsString::from(client.endpoint().to_string());
    let mut variables = vec![(ENDPOINT_VARIABLE, endpoint.as_os_str()), (GROUP_VARIABLE, group.as_ref())];
    variables.extend(door.as_ref().map(|door| (DOOR_VARIABLE, door.socket().as_os_str())));
    variables.extend(token_file.as_ref().map(|path| (TOKEN_FILE_VARIABLE, path.as_os_str())));
    let mut child = match Child::spawn(&arguments.program, &variables, &signals.mask) {
        Ok(child) => child,
        Err(error) => {
            writeln!(screen.err, "cardbroker: {} cannot be run: {error}", program.to_string_lossy().escape_debug())?;
            let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUN };
            return Ok(code.into());
        }
    };
    let mut membership = Membership { client, door, is_private, has_warned: false };
    let status = tokio::select! {
        status = wait(&mut child, &mut signals) => status?,
        never = membership.keep(screen) => match never {},
    };
    // Codes have eight bits.
    Ok(u8::try_from(status & 0xFF).unwrap_or(1).into())
}

/// Waits for the end of the program, and passes signals on to it.
async fn wait(child: &mut Child, signals: &mut Signals) -> io::Result<i32> {
    loop {
        tokio::select! {
            biased;
            status = child.wait() => return status,
            signal = signals.next() => child.send(signal),
        }
    }
}

/// The connection that keeps the isolation group in existence.
struct Membership {
    client: Client,
    door: Option<Door>,
    is_private: bool,
    has_warned: bool,
}

/// Something that does not happen.
enum Never {}

impl Membership {
    /// Connects again after a loss: a broker that was restarted has forgotten the group.
    async fn keep(&mut self, screen: &mut Screen<'_>) -> Never {
        while let Some(door) = &mut self.door {
            let error = door.closed().await;
            if self.is_private && !self.has_warned {
                self.has_warned = true;
                // Without standard error nobody is left to tell.
                let _ = writeln!(screen.err, "cardbroker: the private door is closed: {error}");
            }
            self.door = self.open_again().await;
        }
        // A watch connects again by itself, and joins the group each time.
        let mut watch = self.client.watch();
        loop {
            watch.next().await;
        }
    }

    /// Finds the door of a broker that was restarted; `None` if it has none now.
    async fn open_again(&self) -> Option<Door> {
        loop {
            sleep(PAUSE).await;
            // A private door would have another path, which the program does not know.
            match self.client.open_door(false).await {
                Ok(door) => return Some(door),
                Err(error) if error.reason() == Some(ErrorReason::NotImplemented) => return None,
                Err(_) => {}
            }
        }
    }
}

/// The key of a new isolation group: 128 random bits.
fn fresh_group() -> io::Result<String> {
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    Ok(key.iter().map(|byte| format!("{byte:02x}")).collect())
}
