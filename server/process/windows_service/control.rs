//! The running service: its state for the service control manager, and the manager's requests.

use std::{
    ffi::OsString,
    io,
    process::ExitCode,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use tokio::sync::Notify;
use windows_service::{
    Error, define_windows_service,
    service::{
        ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus as SystemStatus, ServiceType,
    },
    service_control_handler::{self, ServiceControlHandlerResult, ServiceStatusHandle},
    service_dispatcher,
};

use super::{
    NAME, places,
    status::{Event, Phase, Status},
};
use crate::process::{flags::Exit, signals::Signal, telemetry};

/// `ERROR_FAILED_SERVICE_CONTROLLER_CONNECT`: the process was not started by the service control manager.
const NOT_A_SERVICE: i32 = 1063;

/// The service of this process. It is one for the whole process, because the manager calls its functions without a
/// value of ours.
static SERVICE: Service = Service {
    handle: OnceLock::new(),
    status: Mutex::new(Status::STARTING),
    stop: Notify::const_new(),
    reload: Notify::const_new(),
};

/// The daemon itself. Set before the manager calls.
static SERVE: OnceLock<fn() -> Exit> = OnceLock::new();

/// The connection to the service control manager.
#[derive(Debug)]
pub(in crate::process) struct Service {
    /// Set once the manager has started the service.
    handle: OnceLock<ServiceStatusHandle>,
    /// The state that was told last.
    status: Mutex<Status>,
    /// Keeps a request for a stop until the daemon asks for it, and likewise for a reload; a second one adds nothing.
    stop: Notify,
    reload: Notify,
}

/// The service that this process is, if the manager has started it as one.
pub(in crate::process) fn current() -> Option<&'static Service> {
    SERVICE.handle.get().map(|_| &SERVICE)
}

impl Service {
    /// Waits for the next request of the manager. Cancel-safe.
    pub(in crate::process) async fn next(&self) -> Signal {
        tokio::select! {
            biased;
            () = self.stop.notified() => Signal::Stop,
            () = self.reload.notified() => Signal::Reload,
        }
    }

    /// Tells the manager about an event, if that changes the state.
    ///
    /// # Errors
    /// An error of the operating system.
    pub(in crate::process) fn tell(&self, event: Event) -> io::Result<()> {
        // Held until the manager knows: states arrive in their order.
        let mut status = self.status();
        let Some(next) = status.after(event) else { return Ok(()) };
        if let Some(handle) = self.handle.get() {
            handle.set_service_status(system_status(next)).map_err(into_io)?;
        }
        // Only now: an event that the manager was not told may be told again.
        *status = next;
        Ok(())
    }

    /// Takes a request of the manager. Does not wait.
    fn on_control(&self, control: ServiceControl) -> ServiceControlHandlerResult {
        match control {
            ServiceControl::Interrogate => {}
            ServiceControl::Stop | ServiceControl::Preshutdown => {
                // An error means that the manager is gone. The drain begins all the same.
                let _ = self.tell(Event::Stopping);
                self.stop.notify_one();
            }
            ServiceControl::ParamChange => self.reload.notify_one(),
            _ => return ServiceControlHandlerResult::NotImplemented,
        }
        ServiceControlHandlerResult::NoError
    }

    /// Every change is a single assignment, so a panic elsewhere leaves it whole.
    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs `serve` as the service: it is called once the manager has started the service, in a thread of its own. Returns
/// after it with its exit code.
///
/// # Errors
/// For people, with the remedy: the process was not started by the manager.
pub(super) fn run(serve: fn() -> Exit) -> Result<ExitCode, String> {
    let _ = SERVE.set(serve);
    service_dispatcher::start(NAME, service_main).map_err(|error| match into_io(error) {
        error if error.raw_os_error() == Some(NOT_A_SERVICE) => {
            "only Windows starts the service: use \"net start cardbroker\", or cardbrokerd without \"service run\" for \
             a broker in this console"
                .to_owned()
        }
        error => format!("the service cannot be run: {error}"),
    })?;
    let exit = match SERVICE.status().phase {
        Phase::Stopped(exit) => exit,
        _ => Exit::Failure as u8,
    };
    Ok(exit.into())
}

define_windows_service!(service_main, serve);

/// The whole life of the service.
fn serve(_: Vec<OsString>) {
    // The closure has no variables of its own: the crate frees those at the first stop, although another request may
    // follow.
    let registered = service_control_handler::register(NAME, |control| SERVICE.on_control(control));
    // Without the handle the manager cannot be told anything: it sees the end of the process, and starts it again.
    let (Ok(handle), Some(daemon)) = (registered, SERVE.get()) else { return };
    let _ = SERVICE.handle.set(handle);
    // The daemon serves even if the manager does not listen now.
    let _ = handle.set_service_status(system_status(Status::STARTING));
    // At each start: the list of the folder, or of one above it, may have been changed since the installation.
    let exit = match places::prepare_folder() {
        Ok(()) => daemon(),
        Err(problem) => {
            telemetry::report_end(&problem);
            Exit::Config
        }
    };
    let _ = SERVICE.tell(Event::Ended(exit as u8));
}

/// A state in the system's form. A failure has the daemon's exit code as the service's own one.
fn system_status(status: Status) -> SystemStatus {
    // A shutdown of Windows ends a service that takes SHUTDOWN after 5 s. One that takes PRESHUTDOWN is asked earlier,
    // and may drain as at a stop.
    let requests = ServiceControlAccept::STOP | ServiceControlAccept::PRESHUTDOWN | ServiceControlAccept::PARAM_CHANGE;
    let none = ServiceControlAccept::empty();
    let (current_state, controls_accepted, exit) = match status.phase {
        Phase::Starting => (ServiceState::StartPending, none, 0),
        Phase::Running => (ServiceState::Running, requests, 0),
        Phase::Stopping => (ServiceState::StopPending, none, 0),
        Phase::Stopped(exit) => (ServiceState::Stopped, none, exit),
    };
    SystemStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state,
        controls_accepted,
        exit_code: match exit {
            0 => ServiceExitCode::NO_ERROR,
            exit => ServiceExitCode::ServiceSpecific(exit.into()),
        },
        checkpoint: status.checkpoint,
        wait_hint: status.wait_hint,
        process_id: None,
    }
}

/// The error of the system in an error of the crate.
pub(super) fn into_io(error: Error) -> io::Error {
    match error {
        Error::Winapi(error) => error,
        error => io::Error::other(error),
    }
}
