//! The version of the system, as its own program prints it.

use std::process::{Command, Stdio};

use crate::words::HERE;

/// The output of the system's program; `None` if it cannot be started. The program ends at once.
pub fn system_version() -> Option<String> {
    let (program, arguments) = HERE.version_command.split_first()?;
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}
