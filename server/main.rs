//! The life of `cardbrokerd`: settings → bind → build → run → drain.

use std::{
    alloc::System,
    io::{self, Write},
    process::ExitCode,
};

use cardbroker_server::{
    config::Config,
    flags::{Command, Exit, Flags, PolicyCommand},
    listen::{BindError, BoundSocket},
    process,
    server::{self, Drain, Server},
    signals::Signals,
    telemetry,
};
use clap::Parser;
use zeroizing_alloc::ZeroAlloc;

/// Wipes all memory that is given back, for the transport and the codec keep copies of commands in buffers of their own.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    match run(&Flags::parse()) {
        Ok(exit) => exit.into(),
        Err((exit, problem)) => {
            // Without standard error there is nobody to tell; the exit code remains.
            let _ = writeln!(io::stderr(), "cardbrokerd: {problem}");
            exit.into()
        }
    }
}

type Problem = (Exit, Box<dyn std::error::Error>);

fn run(flags: &Flags) -> Result<Exit, Problem> {
    if flags.print_example_config {
        return print(Config::example());
    }
    let config = flags.settings().map_err(|problem| (Exit::Config, problem.into()))?;
    if flags.check_config {
        return print(&config.to_string());
    }
    if let Some(Command::Policy(PolicyCommand::Check(question))) = &flags.command {
        return print(&question.answer(config.rules));
    }
    process::harden().map_err(failure)?;
    telemetry::init(&config.log).map_err(|problem| (Exit::Config, problem.into()))?;
    let bound = BoundSocket::bind(&config.listen).map_err(|problem| match problem {
        BindError::AlreadyRunning { .. } => (Exit::AlreadyRunning, problem.into()),
        BindError::Unfit { .. } | BindError::Io { .. } => (Exit::CannotListen, problem.into()),
    })?;

    // One thread for everything that does not block: measured faster here than a pool, for each hop between threads costs more than
    // what is done behind it. Cards have threads of their own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failure)?;
    let reload = flags.clone();
    let drain = runtime.block_on(async {
        let mut signals = Signals::listen().map_err(failure)?;
        let backend = server::backend(&config);
        let server = Server::start(config, bound, backend).await.map_err(failure)?;
        server.run(async || signals.next().await, move || reload.settings()).await.map_err(failure)
    });
    // Card threads that hang in a driver are left behind.
    runtime.shutdown_background();
    Ok(match drain? {
        Drain::Complete => Exit::Ok,
        Drain::GraceExpired => Exit::GraceExpired,
    })
}

fn print(text: &str) -> Result<Exit, Problem> {
    io::stdout().write_all(text.as_bytes()).map_err(failure)?;
    Ok(Exit::Ok)
}

fn failure(problem: impl std::error::Error + 'static) -> Problem {
    (Exit::Failure, Box::new(problem))
}
