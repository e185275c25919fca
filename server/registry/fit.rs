//! Tells in the log which rules and entries of the configuration fit none of the readers, and when one fits after all.

use std::time::{Duration, Instant};

use cardbroker_core::policy::{ReaderNames, unfit::Unfit};
use tracing::{info, warn};

use super::Registry;

/// How long the list of readers must stay the same before it is judged: the readers of a machine that starts, or of a
/// hub, appear one after the other.
pub(super) const SETTLING_TIME: Duration = Duration::from_secs(2);

/// The patterns that the log has named already.
#[derive(Default)]
pub(super) struct ReportedPatterns {
    /// When the list of readers is judged next; `None` until something changes.
    pub(super) due: Option<Instant>,
    /// The messages that hold as far as the log says. `None` before the first judgement of the rules in force.
    messages: Option<Vec<String>>,
    /// The readers of the last judgement.
    present: Vec<ReaderNames>,
}

impl ReportedPatterns {
    /// The list of readers has changed at `now`.
    pub(super) fn on_list(&mut self, now: Instant) {
        self.due = Some(now + SETTLING_TIME);
    }

    /// The rules have changed at `now`: the log says everything again.
    pub(super) fn on_rules(&mut self, now: Instant) {
        self.messages = None;
        self.due = Some(self.due.unwrap_or(now));
    }

    /// Judges the list, which has settled. Returns the messages that hold no longer, and the new ones. Once the rules
    /// were judged, a reader that leaves changes nothing: it makes no pattern a mistake.
    fn judge(&mut self, present: Vec<ReaderNames>, unfit: Vec<Unfit>) -> (Vec<String>, Vec<Unfit>) {
        self.due = None;
        let has_come = present.iter().any(|reader| !self.present.contains(reader));
        self.present = present;
        let is_first = self.messages.is_none();
        if !is_first && !has_come {
            return (Vec::new(), Vec::new());
        }
        let before = self.messages.take();
        let holds = |message: &String| unfit.iter().any(|unfit| unfit.message == *message);
        let (mut reported, over): (Vec<_>, Vec<_>) = before.unwrap_or_default().into_iter().partition(holds);
        let is_new = |unfit: &Unfit| (is_first || !over.is_empty()) && !reported.contains(&unfit.message);
        let new: Vec<_> = unfit.into_iter().filter(is_new).collect();
        reported.extend(new.iter().map(|unfit| unfit.message.clone()));
        self.messages = Some(reported);
        (over, new)
    }
}

impl Registry {
    /// Tells which rules and entries fit none of the readers, once there is a reader, and takes back what has become
    /// wrong.
    pub(super) fn tell_unfit(&mut self) {
        let plugged = self.readers.values().filter(|entry| entry.reported.is_some());
        let names = plugged.filter_map(|entry| entry.named.as_ref()).map(|named| ReaderNames::clone(&named.names));
        let present: Vec<_> = names.collect();
        if present.is_empty() {
            self.reported.due = None;
            return;
        }
        let entries = (self.settings.unfit_entries)(&present).into_iter();
        let unfit = entries.chain(self.settings.policy.borrow().unfit(&present)).collect();
        let (over, new) = self.reported.judge(present, unfit);
        for message in over {
            info!("a reader fits now, so this is over: {message}");
        }
        for Unfit { denies, message } in new {
            if denies { warn!("{message}") } else { info!("{message}") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(reported: &mut ReportedPatterns, present: &[&str], unfit: &[&str]) -> (Vec<String>, Vec<String>) {
        let unfit = unfit.iter().map(|message| Unfit { denies: true, message: (*message).into() });
        let names = |id: &&str| ReaderNames { id: (*id).into(), display_name: (*id).into() };
        let (over, new) = reported.judge(present.iter().map(names).collect(), unfit.collect());
        (over, new.into_iter().map(|unfit| unfit.message).collect())
    }

    fn told(over: &[&str], new: &[&str]) -> (Vec<String>, Vec<String>) {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        (texts(over), texts(new))
    }

    #[test]
    fn the_log_says_a_message_once_and_takes_it_back_once() {
        let mut log = ReportedPatterns::default();
        assert_eq!(judge(&mut log, &["x"], &["by a, b", "c"]), told(&[], &["by a, b", "c"]));
        assert_eq!(judge(&mut log, &[], &["by a, b", "c", "x"]), told(&[], &[]), "a reader has left");
        assert_eq!(judge(&mut log, &["a", "x"], &["by b", "c"]), told(&["by a, b"], &["by b"]));
        assert_eq!(judge(&mut log, &["a", "c"], &["by b"]), told(&["c"], &[]));
        assert_eq!(judge(&mut log, &["a"], &["by b", "c"]), told(&[], &[]));
        log.on_rules(Instant::now());
        assert_eq!(judge(&mut log, &["a"], &["by b", "c"]), told(&[], &["by b", "c"]));
    }

    #[test]
    fn the_list_is_judged_when_it_has_settled() {
        let (mut log, start) = (ReportedPatterns::default(), Instant::now());
        log.on_list(start);
        log.on_rules(start);
        assert_eq!(log.due, Some(start + SETTLING_TIME));
        log.on_list(start + SETTLING_TIME / 2);
        assert_eq!(log.due, Some(start + SETTLING_TIME + SETTLING_TIME / 2));
        judge(&mut log, &[], &[]);
        assert_eq!(log.due, None);
        log.on_rules(start);
        assert_eq!(log.due, Some(start), "new rules wait for no reader");
    }
}
