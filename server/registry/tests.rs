//! Names of readers, and a card stack that hangs.

use super::*;
use crate::backend::Slot;

/// A card stack that does not return from the first call.
struct Hanging;

impl Backend for Hanging {
    fn monitor(&self) -> Box<dyn Monitor> {
        Box::new(Self)
    }

    fn slot(&self, _: &str) -> Box<dyn Slot> {
        unreachable!("it names no reader")
    }
}

impl Monitor for Hanging {
    fn wait(&mut self, _: Duration) -> SlotSnapshot {
        loop {
            thread::park();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_card_stack_that_hangs_keeps_the_broker_neither_from_starting_nor_from_stopping() {
    let config = crate::config::Config::default();
    let settings = RegistrySettings {
        turns_moved: reader::TurnsMoved::default(),
        reader: Box::new(move |name| config.reader(name)),
        limits: Limits { per_caller: 1, per_reader: 1 },
        max_contended_lease: Duration::from_secs(60),
        policy: crate::policy::access::unlimited_policy(),
        epoch: "test".into(),
    };
    let shutdown = CancellationToken::new();
    let long = Duration::from_secs(60);
    let started = timeout(long, start(Arc::new(Hanging), settings, shutdown.clone())).await;
    let (view, task) = started.unwrap().unwrap();
    assert!(view.borrow().is_empty());
    shutdown.cancel();
    timeout(long, task).await.unwrap().unwrap();
}

#[test]
fn ids_are_made_of_display_names() {
    assert_eq!(id_of("Virtual PCD 00 00"), "virtual-pcd-00-00");
    assert_eq!(id_of("Gemalto (PC) [Twin+]  01"), "gemalto-pc-twin-01");
    assert_eq!(id_of("Ünïcode"), "n-code");
    assert_eq!(id_of("***"), "reader");
}

#[test]
fn an_alias_wins_and_a_collision_is_numbered() {
    assert_eq!(free_id("A B", Some("hsm"), |_| false), "hsm");
    assert_eq!(free_id("A B", None, |id| id == "a-b"), "a-b-2");
    assert_eq!(free_id("A B", None, |id| ["a-b", "a-b-2"].contains(&id)), "a-b-3");
}
