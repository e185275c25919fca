//! `cardbroker policy`: questions about the broker's policy, handed on to the broker's own program, for nobody else
//! knows its configuration.

use std::{
    env, io,
    path::PathBuf,
    process::{Command, ExitCode},
};

use clap::Args;

use super::Failure;

const DAEMON: &str = "cardbrokerd";

/// Explain who may do what, and by which rule (policy check --help), without a running broker.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct PolicyArguments {
    /// What to ask, such as: check --as token:ci --reader yubikey.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "QUESTION")]
    question: Vec<String>,
}

/// Asks, and ends as the answer did.
pub(crate) fn run(arguments: &PolicyArguments, json: bool) -> Result<ExitCode, Failure> {
    let mut daemon = Command::new(daemon());
    daemon.arg("policy").args(&arguments.question);
    if json {
        daemon.arg("--json");
    }
    let status = daemon.status().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::Usage(format!(
            "{DAEMON}, which knows the policy, is neither beside this program nor on the PATH: install it"
        )),
        _ => Failure::Output(error),
    })?;
    // A signal has no code.
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(code.into())
}

/// The daemon beside this program, or else the one on the PATH.
fn daemon() -> PathBuf {
    let name = format!("{DAEMON}{}", env::consts::EXE_SUFFIX);
    let beside = env::current_exe().ok().map(|program| program.with_file_name(&name));
    beside.filter(|daemon| daemon.is_file()).unwrap_or_else(|| name.into())
}
