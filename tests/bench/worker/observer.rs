//! Observes on PC/SC itself when a card is inserted or removed.

use std::{ffi::CString, time::Duration};

use anyhow::Context as _;
use pcsc::{Context, ReaderState, Scope, State};

use crate::clock;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// PC/SC's name of the reader.
    reader: String,
}

/// Prints "ready", and then "inserted NS" or "removed NS" for each change, until this process is killed.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let context = Context::establish(Scope::System)?;
    let mut states = [ReaderState::new(CString::new(arguments.reader.as_str())?, State::UNAWARE)];
    context.get_status_change(Duration::ZERO, &mut states).context("no such reader")?;
    super::tell("ready")?;
    loop {
        let event_count = states[0].event_count();
        states[0].sync_current_state();
        context.get_status_change(None, &mut states)?;
        let seen = clock::now();
        if states[0].event_count() != event_count {
            let is_there = states[0].event_state().contains(State::PRESENT);
            super::tell(&format!("{} {seen}", if is_there { "inserted" } else { "removed" }))?;
        }
    }
}
