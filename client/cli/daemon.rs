//! `cardbroker policy`, `cardbroker token` and `cardbroker doctor --winscard`: run the daemon's program, which reads
//! its own configuration and files, and uses PC/SC. They do not contact a running broker.

use std::{
    env,
    ffi::OsString,
    io,
    path::PathBuf,
    process::{Command, ExitCode},
};

use clap::Args;

use super::Failure;

const DAEMON: &str = "cardbrokerd";

const POLICY_EXAMPLES: &str = "\
Examples:
  cardbroker policy check --as user:alice --reader yubikey
  cardbroker policy check --help";
const TOKEN_EXAMPLES: &str = "\
Examples:
  cardbroker token new build-7 --out build-7.token
  cardbroker token list
  cardbroker token new --help";

/// Explain what a caller may do, and by which rule, without a running broker (policy check --help).
#[derive(Args)]
#[command(disable_help_flag = true, after_help = POLICY_EXAMPLES)]
pub(crate) struct PolicyArguments {
    /// The question, for example: check --as token:ci --reader yubikey.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "QUESTION")]
    question: Vec<String>,
}

/// Make, list and remove tokens for the broker's TCP port (token --help).
#[derive(Args)]
#[command(disable_help_flag = true, after_help = TOKEN_EXAMPLES)]
pub(crate) struct TokenArguments {
    /// The action, for example: new build-7 --out token.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ACTION")]
    action: Vec<OsString>,
}

impl PolicyArguments {
    /// Runs the daemon's program; exits with its exit code.
    pub(crate) fn run(&self, json: bool) -> Result<ExitCode, Failure> {
        let mut daemon = Command::new(daemon());
        daemon.arg("policy").args(&self.question).args(json.then_some("--json"));
        end(daemon, "evaluates the policy")
    }
}

impl TokenArguments {
    /// Lets the daemon's program edit the tokens file; exits with its exit code.
    pub(crate) fn run(&self, json: bool) -> Result<ExitCode, Failure> {
        let mut daemon = Command::new(daemon());
        daemon.arg("token").args(json.then_some("--json")).args(&self.action);
        end(daemon, "manages the tokens")
    }
}

/// Checks the PC/SC of this machine by the daemon's program, which uses it; exits with its exit code.
pub(crate) fn check_winscard(arguments: &[OsString], json: bool) -> Result<ExitCode, Failure> {
    let mut daemon = Command::new(daemon());
    daemon.arg("winscard").args(arguments).args(json.then_some("--json"));
    end(daemon, "checks PC/SC")
}

/// Runs the daemon's program to its end; `role` completes the error message if the program is missing.
fn end(mut daemon: Command, role: &str) -> Result<ExitCode, Failure> {
    // The daemon's help then names the program that the user called.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::arg0(&mut daemon, "cardbroker");
    let status = daemon.status().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::Usage(format!(
            "{DAEMON}, which {role}, is neither beside this program nor on the PATH: install it"
        )),
        _ => Failure::Output(error),
    })?;
    // There is no exit code after a signal.
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(code.into())
}

/// The daemon beside this program, or else the one on the PATH.
fn daemon() -> PathBuf {
    let name = format!("{DAEMON}{}", env::consts::EXE_SUFFIX);
    let beside = env::current_exe().ok().map(|program| program.with_file_name(&name));
    beside.filter(|daemon| daemon.is_file()).unwrap_or_else(|| name.into())
}
