//! A look at the present readers without a running broker, for the patterns of a configuration.

use std::{sync::mpsc, thread, time::Duration};

use cardbroker_core::policy::unfit::{self, Unfit};

use crate::{backend::Backend, config::Config, registry};

/// The maximum time for the card stack to list its readers.
const LIST_TIME: Duration = Duration::from_secs(3);

/// Returns what has no effect in the configuration because no present reader fits, as lines for people. Asks the card
/// stack, which changes nothing there; a stack that does not answer is one line. Without patterns it asks nobody.
pub fn unfit_lines(config: &Config, backend: &dyn Backend) -> Vec<String> {
    if !config.has_patterns() {
        return Vec::new();
    }
    let (listed, list) = mpsc::channel();
    let mut monitor = backend.monitor();
    // Abandoned if the stack hangs: the process ends soon.
    let looking = thread::Builder::new().name("look".into()).spawn(move || listed.send(monitor.wait(Duration::ZERO)));
    let slots = looking.map_err(|error| error.to_string()).and_then(|_| match list.recv_timeout(LIST_TIME) {
        Ok(slots) => slots.map_err(|error| error.to_string()),
        Err(_) => Err("PC/SC does not answer".into()),
    });
    let present = match slots {
        Err(because) => return vec![format!("note: not checked whether patterns fit a reader: {because}")],
        Ok(slots) => registry::names(&slots, config),
    };
    let rules = config.rules.iter().filter_map(|rule| unfit::of_rule(rule, &present));
    let unfit = config.unfit_entries(&present).into_iter().chain(rules);
    let line = |Unfit { denies, message }| format!("{}: {message}", if denies { "warning" } else { "note" });
    unfit.map(line).collect()
}
