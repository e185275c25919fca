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
    arguments::{launch_arguments, tokens_file},
    control, places,
    registration::{self, Installed},
};
use crate::process::{
    flags::{Exit, Flags, ServiceCommand},
    telemetry,
};

/// The line of a removal that waits.
const DRAINS: &str = "waiting for the running service to finish its commands and stop";

/// The note of an installation.
const NOTE: &str = "note: only SYSTEM and administrators can open the service's pipe, unless listen.socket_group or \
                    listen.pipe_group names a group; the readers are those of the machine, not of a remote session";

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
                    telemetry::report(NOTE);
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
    let (mut tcp, mut configured) = (flags.tcp, None);
    if file.is_some() {
        let settings = Flags { config: file.clone(), command: None, ..flags.clone() }.settings();
        let listen = settings.map_err(|problem| problem.to_string())?.listen;
        (tcp, configured) = (listen.tcp, Some(listen.tokens));
    }
    let [of_user, of_service] =
        [ConfigFolder::of_this_user(), ConfigFolder::of_the_service()].map(|folder| folder.tokens());
    let tokens = tokens_file(flags.tokens.as_deref(), configured.as_deref(), &of_user, &of_service);
    places::problem_of_settings(file.as_deref(), tcp.map(|_| tokens)).map_or(Ok(()), Err)
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
