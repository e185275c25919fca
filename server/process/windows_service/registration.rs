//! The entries of the service in Windows: the service itself, and the source of its events.

use std::{
    ffi::OsString,
    fmt, io,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use cardbroker_pipe::{register_source, unregister_source};
use windows_service::{
    Error as ServiceError,
    service::{
        Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceErrorControl, ServiceFailureActions,
        ServiceFailureResetPeriod, ServiceInfo, ServiceStartType, ServiceState, ServiceType,
    },
    service_manager::{ServiceManager, ServiceManagerAccess},
};

use super::{NAME, control::into_io, places};
use crate::process::telemetry::EVENT_SOURCE;

const DISPLAY_NAME: &str = "Cardbroker";
const DESCRIPTION: &str = "Shares the smart-card readers of this machine between many programs, safely.";

/// The pauses before the restarts after failures. The last one holds for all further failures of a day.
const RESTARTS: [Duration; 3] = [Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(300)];
const RESET_PERIOD: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a shutdown of Windows waits for the drain. Windows' own default was as long, and is now 10 s.
const SHUTDOWN_TIME: Duration = Duration::from_secs(3 * 60);

/// How long `remove` waits for the end of the service, whose drain takes `shutdown.grace` at most.
const STOP_TIME: Duration = Duration::from_secs(11 * 60);
const STOP_LOOK: Duration = Duration::from_millis(100);
/// The longest time of a stop without a drain. A removal that waits longer says so.
const TELL_TIME: Duration = Duration::from_secs(1);

/// Codes of the system: `ERROR_ACCESS_DENIED`, `ERROR_SERVICE_CANNOT_ACCEPT_CTRL`, `ERROR_SERVICE_NOT_ACTIVE`,
/// `ERROR_SERVICE_DOES_NOT_EXIST`, `ERROR_SERVICE_MARKED_FOR_DELETE`.
const ACCESS_DENIED: i32 = 5;
const CANNOT_ACCEPT_NOW: i32 = 1061;
const NOT_ACTIVE: i32 = 1062;
const NO_SERVICE: i32 = 1060;
const MARKED_FOR_DELETE: i32 = 1072;

/// Why the service cannot be installed or removed, for people and with a remedy.
#[derive(Debug)]
pub(super) struct Problem(pub(super) String);

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Problem {}

impl Problem {
    /// The problem of a step, after "cannot".
    pub(super) fn of(action: &str, error: &io::Error) -> Self {
        Self(match error.raw_os_error() {
            Some(ACCESS_DENIED) => format!(
                "cannot {action} without the rights of an administrator: do it in a console that was opened by \"Run \
                 as administrator\""
            ),
            Some(MARKED_FOR_DELETE) => format!(
                "cannot {action}: the service is being removed: close programs that show it, such as Services, and try \
                 again"
            ),
            Some(NO_SERVICE) => format!("cannot {action}: there is no service {NAME}"),
            _ => format!("cannot {action}: {error}"),
        })
    }
}

/// The result of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Installed {
    /// There was no such service.
    New,
    /// The service had been there, and has the new command line from its next start on.
    Updated,
}

/// Installs the service with this program and these arguments, or changes the one that is there. Returns with the
/// result what Windows did not take and the service can do without.
///
/// # Errors
/// [`Problem`]; nothing was changed if others may change the program.
pub(super) fn install(arguments: Vec<OsString>) -> Result<(Installed, Vec<String>), Problem> {
    let program = places::program()?;
    let access = ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE;
    let manager = manager(access, "install the service")?;
    places::prepare_folder()?;
    register_source(EVENT_SOURCE).map_err(|error| Problem::of("register the source of events", &error))?;
    let info = info(program, arguments);
    let failed = |error: ServiceError| Problem::of("install the service", &into_io(error));
    // The right to start comes with restarts.
    let access = ServiceAccess::CHANGE_CONFIG | ServiceAccess::START | ServiceAccess::QUERY_STATUS;
    let (service, installed) = match open(&manager, access)? {
        Some(service) => {
            service.change_config(&info).map_err(failed)?;
            (service, Installed::Updated)
        }
        None => (manager.create_service(&info, access).map_err(failed)?, Installed::New),
    };
    let extras = [
        ("description", service.set_description(DESCRIPTION)),
        ("restarts after failures", service.update_failure_actions(restarts())),
        ("time for a drain at a shutdown", service.set_preshutdown_timeout(SHUTDOWN_TIME)),
        ("restarts after failures with an exit code", service.set_failure_actions_on_non_crash_failures(true)),
    ];
    let missing = extras.into_iter().filter_map(|(what, set)| Some((what, into_io(set.err()?))));
    Ok((installed, missing.map(|(what, error)| format!("Windows did not accept the {what}: {error}")).collect()))
}

/// Stops and removes the service, and then the source of its events, which the stop itself still needs. Its files stay.
/// Calls `on_wait` if the stop takes longer than a moment.
///
/// # Errors
/// [`Problem`], if there is no service, too.
pub(super) fn remove(on_wait: impl FnOnce()) -> Result<(), Problem> {
    let manager = manager(ServiceManagerAccess::CONNECT, "remove the service")?;
    let access = ServiceAccess::STOP | ServiceAccess::QUERY_STATUS | ServiceAccess::DELETE;
    let Some(service) = open(&manager, access)? else {
        // What an earlier removal may have left.
        let _ = unregister_source(EVENT_SOURCE);
        return Err(Problem(format!("there is no service {NAME}: nothing was removed")));
    };
    stop(&service, on_wait)?;
    service.delete().map_err(|error| Problem::of("remove the service", &into_io(error)))?;
    unregister_source(EVENT_SOURCE).map_err(|error| Problem::of("remove the source of events", &error))
}

fn manager(access: ServiceManagerAccess, action: &str) -> Result<ServiceManager, Problem> {
    ServiceManager::local_computer(None::<&str>, access).map_err(|error| Problem::of(action, &into_io(error)))
}

fn open(manager: &ServiceManager, access: ServiceAccess) -> Result<Option<Service>, Problem> {
    match manager.open_service(NAME, access).map_err(into_io) {
        Ok(service) => Ok(Some(service)),
        Err(error) if error.raw_os_error() == Some(NO_SERVICE) => Ok(None),
        Err(error) => Err(Problem::of("open the service", &error)),
    }
}

/// Does not depend on the service of smart cards: that stops with the last reader, and may start with the first one.
fn info(program: PathBuf, arguments: Vec<OsString>) -> ServiceInfo {
    ServiceInfo {
        name: NAME.into(),
        display_name: DISPLAY_NAME.into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: ServiceStartType::AutoStart,
        error_control: ServiceErrorControl::Normal,
        // The crate puts a path with spaces in quotes.
        executable_path: program,
        launch_arguments: arguments,
        dependencies: Vec::new(),
        // LocalSystem.
        account_name: None,
        account_password: None,
    }
}

fn restarts() -> ServiceFailureActions {
    let restart = |delay| ServiceAction { action_type: ServiceActionType::Restart, delay };
    ServiceFailureActions {
        reset_period: ServiceFailureResetPeriod::After(RESET_PERIOD),
        reboot_msg: None,
        command: None,
        actions: Some(RESTARTS.map(restart).to_vec()),
    }
}

/// Stops the service unless it has stopped, and waits for its end. One that starts takes no request yet, so it is asked
/// again. Calls `on_wait` if it takes longer than a moment.
fn stop(service: &Service, on_wait: impl FnOnce()) -> Result<(), Problem> {
    let failed = |error: ServiceError| Problem::of("stop the service", &into_io(error));
    let (begin, mut on_wait) = (Instant::now(), Some(on_wait));
    loop {
        match service.query_status().map_err(failed)?.current_state {
            ServiceState::Stopped => return Ok(()),
            ServiceState::StopPending => {}
            _ => match service.stop().map_err(into_io) {
                Err(error) if !passes(error.raw_os_error()) => return Err(Problem::of("stop the service", &error)),
                _ => {}
            },
        }
        match begin.elapsed() {
            waited if waited > STOP_TIME => {
                return Err(Problem(format!("the service {NAME} does not end: stop it, and remove it then")));
            }
            waited if waited > TELL_TIME => {
                if let Some(on_wait) = on_wait.take() {
                    on_wait();
                }
            }
            _ => {}
        }
        thread::sleep(STOP_LOOK);
    }
}

/// Whether a refused request for a stop may be accepted soon, or is not needed any more.
fn passes(code: Option<i32>) -> bool {
    // Without a code the crate could not read the answer, which the next look does.
    code.is_none_or(|code| [CANNOT_ACCEPT_NOW, NOT_ACTIVE].contains(&code))
}
