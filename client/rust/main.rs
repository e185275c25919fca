//! cardbroker: the smart-card readers of this machine, from the command line.

#[path = "../cli/mod.rs"]
mod cli;

use std::{
    alloc::System,
    io::{self, IsTerminal},
    process::ExitCode,
};

use clap::Parser;
use zeroizing_alloc::ZeroAlloc;

/// Wipes all memory that is given back: PINs that were typed pass through the buffers of many libraries.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    // Not locked for good: a prompt writes to them, too, on a thread of its own.
    let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
    let terminal = stdout.is_terminal();
    cli::run(arguments, &mut cli::Screen { out: &mut stdout, err: &mut stderr, terminal })
}
