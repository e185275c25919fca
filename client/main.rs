//! cardbroker: the smart-card readers of this machine, from the command line.

mod cli;

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

use clap::Parser;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    // Not locked for good: a prompt writes to them, too, on a thread of its own.
    let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
    let terminal = stdout.is_terminal();
    cli::run(arguments, &mut cli::Screen { out: &mut stdout, err: &mut stderr, terminal })
}
