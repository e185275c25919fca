//! The program `flooder`: a hostile client that floods the broker with requests of one kind.

use cardbroker_tests::harness::flood::{Arguments, run};
use clap::Parser;

#[derive(Parser)]
struct Flooder {
    #[command(flatten)]
    arguments: Arguments,
}

fn main() -> anyhow::Result<()> {
    run(Flooder::parse().arguments)
}
