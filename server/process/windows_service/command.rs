//! `cardbrokerd service`: the command line of the service.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use cardbroker_local::config_folder::ConfigFolder;

use super::{
    NAME,
    arguments::launch_arguments,
    control, places,
    registration::{self, Installed},
};
use crate::process::{
    flags::{Exit, Flags, ServiceCommand},
    telemetry,
};

/// The line of a removal that waits.
const DRAINS: &str = "waiting for the running service to finish its commands and stop";

/// Executes the subcommand. `serve` is the daemon, which `run` calls.
pub fn execute(command: ServiceCommand, flags: &Flags, serve: fn() -> Exit) -> ExitCode {
    let failed = |exit: Exit, problem: &dyn std::fmt::Display| {
        telemetry::report(problem);
        exit.into()
    };
    match command {
        ServiceCommand::Install => match check_settings(flags) {
            Err(problem) => failed(Exit::Config, &problem),
            Ok(()) => match registration::install(launch_arguments(flags, absolute)) {
                Err(problem) => failed(Exit::Failure, &problem),
                Ok((installed, notes)) => {
                    notes.iter().for_each(|note| telemetry::report(format_args!("note: {note}")));
                    print(match installed {
                        Installed::New => "installed the service cardbroker; start it: net start cardbroker",
                        Installed::Updated => {
                            "changed the service cardbroker; a running one goes on as it is until it is started again: \
                             net stop cardbroker, net start cardbroker"
                        }
                    })
                }
            },
        },
        ServiceCommand::Remove => match registration::remove(|| telemetry::report(DRAINS)) {
            Err(problem) => failed(Exit::Failure, &problem),
            Ok(()) => print(&format!(
                "removed the service {NAME}; its files stay in {}",
                ConfigFolder::of_the_service().path().display()
            )),
        },
        ServiceCommand::Run => control::run(serve).unwrap_or_else(|problem| failed(Exit::Usage, &problem)),
    }
}

/// Checks the settings of the service to be, for its account: the installation reports a mistake, not a service that
/// fails to start.
fn check_settings(flags: &Flags) -> Result<(), String> {
    // Without a file the daemon would look into the folder of the user who installs it.
    let default = Some(ConfigFolder::of_the_service().configuration()).filter(|file| file.exists());
    let file = flags.config.clone().or(default);
    let (mut tcp, mut tokens) = (flags.tcp, flags.tokens.clone());
    if file.is_some() {
        let settings = Flags { config: file.clone(), command: None, ..flags.clone() }.settings();
        let listen = settings.map_err(|problem| problem.to_string())?.listen;
        // That of this user is the default of a file that names none.
        let is_named = listen.tokens != ConfigFolder::of_this_user().tokens();
        (tcp, tokens) = (listen.tcp, Some(listen.tokens).filter(|_| is_named));
    }
    let tokens = tokens.unwrap_or_else(|| ConfigFolder::of_the_service().tokens());
    places::problem_of_settings(file.as_deref(), tcp.map(|_| tokens.as_path())).map_or(Ok(()), Err)
}

fn absolute(path: &Path) -> OsString {
    std::path::absolute(path).map_or_else(|_| path.into(), Into::into)
}

fn print(line: &str) -> ExitCode {
    match writeln!(io::stdout(), "{line}") {
        Ok(()) => Exit::Ok.into(),
        Err(_) => Exit::Failure.into(),
    }
}
