//! Property of differences: a watcher that applies them knows the same as a list of all readers, after any events and
//! at any time.

use std::collections::BTreeSet;

use cardbroker_core::{properties, status::State};
use proptest::{collection::vec, prelude::*, prop_oneof, test_runner::TestCaseResult};

use super::*;

/// The number of readers in the histories, few so that they often come back.
const READERS: u8 = 4;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A reader publishes its status: the number of insertions; `None` without the reader.
    Publish(u8, Option<u8>),
    /// The rules change: the caller may see the readers whose bits are set.
    Rules(u8),
    /// The watcher applies the changes.
    Update,
}

fn step() -> impl Strategy<Value = Step> {
    let status = prop::option::weighted(0.7, 0..3_u8);
    prop_oneof![
        6 => (0..READERS, status).prop_map(|(reader, status)| Step::Publish(reader, status)),
        1 => (0..1_u8 << READERS).prop_map(Step::Rules),
        3 => Just(Step::Update),
    ]
}

/// A fault in the computation of a difference. The property must detect it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// Removals are missing from the difference.
    NoRemovals,
    /// The generation before the watcher's own counts as what it knows.
    OneTooEarly,
    /// The generation after the watcher's own counts as what it knows.
    OneTooLate,
    /// The rules before a change are forgotten.
    NewRulesOnly,
}

fn names(reader: u8) -> Arc<ReaderNames> {
    Arc::new(ReaderNames { id: reader.to_string(), display_name: reader.to_string() })
}

fn publish(view: &mut View, reader: u8, insertions: Option<u8>) {
    let name = format!("readers/{reader}").into();
    let status = insertions.map(|count| ReaderStatus {
        state: State::Empty,
        atr: Vec::new(),
        protocol: None,
        insertion_id: String::new(),
        insertion_count: count.into(),
    });
    view.apply(&name, &names(reader), status);
}

fn allows(rules: u8, names: &ReaderNames) -> bool {
    names.id.parse::<u8>().is_ok_and(|reader| rules & (1 << reader) != 0)
}

fn visible(view: &View, rules: u8) -> BTreeMap<Arc<str>, Arc<ReaderView>> {
    let readers = view.readers().filter(|reader| allows(rules, &reader.names));
    readers.map(|reader| (Arc::clone(&reader.name), Arc::clone(reader))).collect()
}

/// Runs a history with one watcher, and compares at each of its updates.
fn follows(steps: &[Step], fault: Option<Fault>) -> TestCaseResult {
    let (mut view, mut rules) = (View::default(), 0b1111);
    let (mut known, mut known_generation, mut known_rules) = (BTreeMap::new(), 0_u64, rules);
    for step in steps.iter().copied().chain([Step::Update]) {
        match step {
            Step::Publish(reader, status) => publish(&mut view, reader, status),
            Step::Rules(new) => rules = new,
            Step::Update => {
                let generation = match fault {
                    Some(Fault::OneTooEarly) => known_generation.saturating_sub(1),
                    Some(Fault::OneTooLate) => known_generation + 1,
                    _ => known_generation,
                };
                let saw = |names: &ReaderNames| allows(known_rules, names);
                let is_same = known_rules == rules || fault == Some(Fault::NewRulesOnly);
                let saw: Option<&dyn Fn(&ReaderNames) -> bool> = if is_same { None } else { Some(&saw) };
                let found = view.since(generation, saw, &|names| allows(rules, names));
                let Some(mut difference) = found else {
                    return Err(TestCaseError::fail("nothing was forgotten"));
                };
                if fault == Some(Fault::NoRemovals) {
                    difference.removed.clear();
                }

                let mut named = BTreeSet::new();
                for reader in difference.updated {
                    prop_assert!(allows(rules, &reader.names), "names a hidden reader");
                    prop_assert!(named.insert(Arc::clone(&reader.name)), "names a reader twice");
                    let before = known.insert(Arc::clone(&reader.name), Arc::clone(&reader));
                    prop_assert!(before.as_ref() != Some(&reader), "repeats a reader that is the same");
                }
                for name in difference.removed {
                    prop_assert!(named.insert(Arc::clone(&name)), "names a reader twice");
                    prop_assert!(known.remove(&name).is_some(), "removes a reader that the watcher did not know");
                }
                prop_assert_eq!(&known, &visible(&view, rules), "misses a change");
                (known_generation, known_rules) = (view.generation(), rules);
            }
        }
    }
    Ok(())
}

#[test]
fn applied_differences_equal_the_visible_readers() {
    properties::holds(2000, vec(step(), 0..40), |steps| follows(&steps, None));
}

#[test]
fn planted_faults_are_found() {
    for (fault, rule) in [
        (Fault::NoRemovals, "misses a change"),
        (Fault::OneTooEarly, "repeats a reader"),
        (Fault::OneTooLate, "removes a reader"),
        (Fault::NewRulesOnly, "misses a change"),
    ] {
        properties::is_broken(2000, vec(step(), 0..40), |steps| follows(&steps, Some(fault)), fault, rule);
    }
}

#[test]
fn a_view_forgets_the_oldest_removals() {
    let mut view = View::default();
    let since = |view: &View, generation| view.since(generation, None, &|_| true);
    publish(&mut view, 1, Some(0));
    publish(&mut view, 0, Some(0));
    let before = view.generation();
    publish(&mut view, 0, None);
    for _ in 1..MAX_REMOVALS {
        publish(&mut view, 0, Some(0));
        publish(&mut view, 0, None);
    }
    let expected = Difference { updated: Vec::new(), removed: vec!["readers/0".into()] };
    assert_eq!(since(&view, before), Some(expected), "all are remembered");
    publish(&mut view, 0, Some(0));
    publish(&mut view, 0, None);
    assert_eq!(since(&view, before), None);
    assert_eq!(since(&view, before + 1), Some(Difference::default()), "knows that the reader was gone");
    assert_eq!(view.removals.len(), MAX_REMOVALS);
    assert!(view.get("readers/1").is_some());
}
