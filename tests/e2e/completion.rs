//! Completion in a shell of a person: bash itself splits the line.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::ensure;
use cardbroker_tests::harness::{LONGEST, broker::Setup, tmux::Tmux};

const READER: &str = "simulated-reader-00";

#[test]
fn bash_completes_readers_of_the_broker_that_the_line_names() -> anyhow::Result<()> {
    let broker = Setup::simulated(1)?.start()?;
    // The environment names none.
    let terminal = Tmux::open("unix:/nonexistent/socket", 120, 20)?;
    terminal.enter("exec bash --norc --noprofile -i")?;
    terminal.enter("eval \"$(COMPLETE=bash cardbroker)\"; echo completes-$?")?;
    terminal.shows("completes-0")?;
    let endpoint = broker.endpoint();
    for line in [
        format!("cardbroker --endpoint {endpoint} transmit sim"),
        format!("cardbroker trace --endpoint={endpoint} --reader=sim"),
    ] {
        terminal.enter("clear")?;
        terminal.wait_until("an empty screen", |screen| !screen.contains("endpoint"))?;
        terminal.press(&["-l", &line])?;
        let deadline = Instant::now() + LONGEST;
        while !terminal.screen()?.contains(READER) {
            ensure!(Instant::now() < deadline, "{line}: {}", terminal.screen()?);
            // A broker on a busy machine may answer too late for one key.
            terminal.press(&["Tab"])?;
            sleep(Duration::from_millis(500));
        }
        terminal.press(&["C-u"])?;
    }
    Ok(())
}
