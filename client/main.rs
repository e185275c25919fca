//! cardbroker: the smart-card readers of this machine, from the command line.

mod cli;

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

use clap::Parser;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let terminal = stdout.is_terminal();
    cli::run(arguments, &mut cli::Screen { out: &mut stdout.lock(), err: &mut stderr.lock(), terminal }).into()
}
