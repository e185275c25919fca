//! The life of `cardbrokerd`: settings → bind → build → run → drain.

use std::{
    alloc::System,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use cardbroker_local::config_folder::SYSTEM_CONFIGURATION;
#[cfg(windows)]
use cardbroker_server::process::windows_service;
use cardbroker_server::{
    config::Config,
    listen::{BindError, Bound, Inherited},
    pcsclite,
    policy::explain::Question,
    process::{
        flags::{Command, Exit, Flags, PolicyCommand},
        greeting::greeting,
        hardening,
        service_manager::ServiceManager,
        signals::Signals,
        telemetry::{self, TelemetryError},
    },
    server::{self, Drain, Server, ServerError},
};
use clap::Parser;
use zeroizing_alloc::ZeroAlloc;

/// Wipes all freed memory, because the transport and the codec keep copies of commands in buffers of their own.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    // First, because tokens are read next.
    if let Err(problem) = hardening::harden() {
        telemetry::report_end(&problem);
        return Exit::Failure.into();
    }
    let flags = Flags::parse();
    if let Some(Command::Token(arguments)) = &flags.command {
        return arguments.run(|| flags.tokens_file(), || flags.tcp_address(), &mut io::stdout(), &mut io::stderr());
    }
    if let Some(Command::Winscard(arguments)) = &flags.command {
        return arguments.run(&mut io::stdout(), &mut io::stderr());
    }
    #[cfg(windows)]
    if let Some(Command::Service(command)) = &flags.command {
        return windows_service::execute(*command, &flags, || serve(&Flags::parse()));
    }
    serve(&flags).into()
}

/// Runs to the end of the process, and reports its cause.
fn serve(flags: &Flags) -> Exit {
    run(flags).unwrap_or_else(|(exit, problem)| {
        telemetry::report_end(&*problem);
        exit
    })
}

type Problem = (Exit, Box<dyn std::error::Error>);

fn run(flags: &Flags) -> Result<Exit, Problem> {
    if flags.print_example_config {
        return print(Config::example());
    }
    if let Some(Command::Policy(PolicyCommand::Check(question))) = &flags.command {
        return explain(flags, question);
    }
    // Before the first thread, because it changes the environment.
    let inherited = Inherited::take().map_err(cannot_listen)?;
    let addresses = inherited.as_ref().map(Inherited::addresses);
    let config = flags.settings_with(addresses.as_ref()).map_err(unusable)?;
    let tokens = server::load_tokens(&config);
    let backend = server::backend(&config).map_err(unusable)?;
    pcsclite::check_loop(&config).map_err(unusable)?;
    if flags.check_config {
        tokens.map_err(unusable)?;
        server::unfit_lines(&config, &*backend).into_iter().for_each(telemetry::report);
        return print(&config.to_string());
    }
    let (_flush_at_end, log) = telemetry::init(&config.log).map_err(|problem| match problem {
        TelemetryError::Filter(_) => (Exit::Config, problem.into()),
        _ => failure(problem),
    })?;
    let runtime = server::runtime().map_err(failure)?;
    // Before the files that the end of the daemon removes: no signal may leave them behind.
    let mut signals = runtime.block_on(async { Signals::listen() }).map_err(failure)?;
    let door = config.pcsclite.path().map(PathBuf::as_path);
    // Windows registers a pipe with the runtime when it makes it.
    let bound = runtime.block_on(async {
        let bound = match inherited {
            Some(inherited) => Bound::inherit(inherited, &config.listen),
            None => Bound::bind(&config.listen),
        };
        bound?.with_door(&config.listen, door)
    });
    let bound = bound.map_err(cannot_listen)?;
    let epoch = server::announce(&config).map_err(failure)?;
    let (greeting, person) = (greeting(&config, bound.tcp_address()), log.clone());

    let reload = flags.clone();
    let drain = runtime.block_on(async {
        let server = Server::start(config, tokens, bound, backend, epoch, Some(log)).await.map_err(failure)?;
        person.tell_person(&greeting);
        let settings = move || reload.settings_with(addresses.as_ref());
        let ended = server.run(async || signals.next().await, settings, ServiceManager::connect()).await;
        ended.map_err(|problem| match problem {
            ServerError::Taken(_) => (Exit::AlreadyRunning, problem.into()),
            ServerError::Gone(_) => (Exit::CannotListen, problem.into()),
            _ => failure(problem),
        })
    });
    // Card threads that hang in a driver are abandoned.
    runtime.shutdown_background();
    Ok(match drain? {
        Drain::Complete => Exit::Ok,
        Drain::GraceExpired => Exit::GraceExpired,
    })
}

/// Answers a question about the rules.
fn explain(flags: &Flags, question: &Question) -> Result<Exit, Problem> {
    let mut config = flags.settings().map_err(unusable)?;
    let backend = server::backend(&config).map_err(unusable)?;
    if config.source.is_none() && flags.config.is_none() && Path::new(SYSTEM_CONFIGURATION).exists() {
        telemetry::report(format_args!(
            "note: this user's own broker has no configuration; that of the system's broker is explained by --config \
             {SYSTEM_CONFIGURATION}"
        ));
    }
    server::unfit_lines(&config, &*backend).into_iter().for_each(telemetry::report);
    let (policy, note) = server::policy_to_explain(&mut config, question.token()).map_err(unusable)?;
    note.into_iter().for_each(telemetry::report);
    print(&question.answer(&policy))
}

fn print(text: &str) -> Result<Exit, Problem> {
    io::stdout().write_all(text.as_bytes()).map_err(failure)?;
    Ok(Exit::Ok)
}

fn failure(problem: impl std::error::Error + 'static) -> Problem {
    (Exit::Failure, Box::new(problem))
}

fn cannot_listen(problem: BindError) -> Problem {
    let exit = match problem {
        BindError::AlreadyRunning { .. } | BindError::OtherAutoPort { .. } => Exit::AlreadyRunning,
        BindError::Identity(_) => Exit::Config,
        _ => Exit::CannotListen,
    };
    (exit, problem.into())
}

fn unusable(problem: impl std::error::Error + 'static) -> Problem {
    (Exit::Config, Box::new(problem))
}
