//! Tests of the start, with many readers and with a card stack that hangs.

use std::sync::{Mutex, mpsc::RecvTimeoutError};

use cardbroker_core::status::State;

use super::*;
use crate::backend::{Monitor, Slot, simulated::Simulated};

/// A card stack that does not return from the first call.
struct Hanging;

impl Backend for Hanging {
    fn monitor(&self) -> Box<dyn Monitor> {
        Box::new(Self)
    }

    fn wake_monitor(&self) {}

    fn slot(&self, _: &SlotName) -> Box<dyn Slot> {
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

/// A simulated card stack with one monitor, which closes a channel when it is dropped.
struct Closing(Simulated, Mutex<Option<std::sync::mpsc::Sender<()>>>);

struct ClosingMonitor(Box<dyn Monitor>, #[expect(dead_code, reason = "dropped")] Option<std::sync::mpsc::Sender<()>>);

impl Backend for Closing {
    fn monitor(&self) -> Box<dyn Monitor> {
        Box::new(ClosingMonitor(self.0.monitor(), self.1.lock().unwrap().take()))
    }

    fn wake_monitor(&self) {
        self.0.wake_monitor();
    }

    fn slot(&self, name: &SlotName) -> Box<dyn Slot> {
        self.0.slot(name)
    }
}

impl Monitor for ClosingMonitor {
    fn wait(&mut self, timeout: Duration) -> SlotSnapshot {
        self.0.wait(timeout)
    }
}

/// A card stack whose monitor reports what a test sends, and whether it stops with its last reader.
struct Scripted(Mutex<Option<std::sync::mpsc::Receiver<SlotSnapshot>>>, bool);

struct ScriptedMonitor(std::sync::mpsc::Receiver<SlotSnapshot>);

impl Backend for Scripted {
    fn monitor(&self) -> Box<dyn Monitor> {
        Box::new(ScriptedMonitor(self.0.lock().unwrap().take().unwrap()))
    }

    fn wake_monitor(&self) {}

    fn slot(&self, name: &SlotName) -> Box<dyn Slot> {
        Simulated::new(0).slot(name)
    }

    fn stops_with_last_reader(&self) -> bool {
        self.1
    }
}

impl Monitor for ScriptedMonitor {
    fn wait(&mut self, timeout: Duration) -> SlotSnapshot {
        self.0.recv().unwrap_or_else(|_| Hanging.wait(timeout))
    }
}

fn settings() -> RegistrySettings {
    settings_of("")
}

fn settings_of(toml: &str) -> RegistrySettings {
    let config = crate::config::Config::parse("c.toml".as_ref(), toml).unwrap();
    RegistrySettings {
        journals: crate::journal::Journals::default(),
        turns_moved: crate::reader::TurnsMoved::default(),
        reader: Box::new(move |name| config.reader(name)),
        unfit_entries: Box::new(|_| Vec::new()),
        limits: QueueLimits { per_caller: 1, per_reader: 1 },
        turns: TurnSettings::default(),
        policy: crate::policy::access::unlimited_policy(),
        epoch: "test".into(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_card_stack_blocks_neither_start_nor_stop() {
    let shutdown = CancellationToken::new();
    let long = Duration::from_secs(60);
    let started = timeout(long, start(Arc::new(Hanging), settings(), shutdown.clone(), TaskTracker::new())).await;
    let (readers, task) = started.unwrap().unwrap();
    assert_eq!(readers.view.borrow().readers().count(), 0);
    shutdown.cancel();
    assert_eq!(timeout(long, task).await.unwrap().unwrap(), RegistryEnd::Shutdown);
}

#[tokio::test]
async fn the_start_waits_until_the_view_shows_the_first_poll() {
    // More tasks than the runtime runs between two polls of the test's own task.
    const READERS: usize = 70;
    let shutdown = CancellationToken::new();
    let (readers, task) =
        start(Arc::new(Simulated::new(READERS)), settings(), shutdown.clone(), TaskTracker::new()).await.unwrap();
    assert_eq!(readers.view.borrow().readers().count(), READERS);
    assert_eq!(readers.routes.borrow().len(), READERS);
    shutdown.cancel();
    assert_eq!(task.await.unwrap(), RegistryEnd::Shutdown);
}

#[tokio::test]
async fn the_monitor_thread_ends_with_the_registry() {
    let shutdown = CancellationToken::new();
    let (monitor, ended) = std::sync::mpsc::channel();
    let stack = Closing(Simulated::new(1), Mutex::new(Some(monitor)));
    let (_, task) = start(Arc::new(stack), settings(), shutdown.clone(), TaskTracker::new()).await.unwrap();
    shutdown.cancel();
    assert_eq!(task.await.unwrap(), RegistryEnd::Shutdown);
    assert_eq!(ended.recv_timeout(Duration::from_secs(30)), Err(RecvTimeoutError::Disconnected));
}

#[tokio::test]
async fn an_alias_goes_to_the_lowest_number_when_its_reader_is_gone_for_good() {
    let (say, heard) = std::sync::mpsc::channel();
    let settings = settings_of("[[reader]]\nmatch = 'Desk .*'\nalias = 'desk'");
    let present = |readers: &[&str]| {
        let empty = |name: &&str| SlotStatus { name: (*name).into(), card_present: false, event_count: 0, atr: vec![] };
        say.send(Ok(readers.iter().map(empty).collect())).unwrap();
    };
    present(&["Desk A", "Desk B", "Desk C"]);
    let shutdown = CancellationToken::new();
    let stack = Arc::new(Scripted(Mutex::new(Some(heard)), false));
    let (mut readers, _) = start(stack, settings, shutdown.clone(), TaskTracker::new()).await.unwrap();
    let mut shows = async |expected: &[(&str, &str)]| {
        let named = |view: &View| {
            let names = view.readers().map(|reader| (reader.names.id.clone(), reader.names.display_name.clone()));
            names.collect::<Vec<_>>()
        };
        let expected: Vec<_> = expected.iter().map(|(id, name)| ((*id).to_owned(), (*name).to_owned())).collect();
        loop {
            let view = Arc::clone(&readers.view.borrow_and_update());
            if named(&view) == expected {
                return view;
            }
            let changed = timeout(Duration::from_secs(30), readers.view.changed()).await;
            assert!(changed.is_ok_and(|changed| changed.is_ok()), "{expected:?}, not {:?}", named(&view));
        }
    };
    shows(&[("desk", "Desk A"), ("desk-2", "Desk B"), ("desk-3", "Desk C")]).await;
    present(&["Desk C", "Desk B"]);
    let before = shows(&[("desk-2", "Desk B"), ("desk-3", "Desk C")]).await.generation();
    // It comes back in time.
    present(&["Desk A", "Desk C", "Desk B"]);
    shows(&[("desk", "Desk A"), ("desk-2", "Desk B"), ("desk-3", "Desk C")]).await;
    present(&["Desk C", "Desk B"]);
    shows(&[("desk-2", "Desk B"), ("desk-3", "Desk C")]).await;
    let after = shows(&[("desk", "Desk B"), ("desk-3", "Desk C")]).await;
    let change = after.since(before, None, &|_| true).unwrap();
    let updated: Vec<_> = change.updated.iter().map(|reader| &*reader.name).collect();
    assert_eq!((updated, &*change.removed), (vec!["readers/desk"], &["readers/desk-2".into()][..]));
    let routes: Vec<_> = readers.routes.borrow().keys().map(ToString::to_string).collect();
    assert_eq!(routes, ["readers/desk", "readers/desk-3"]);
    // The alias has another reader now.
    present(&["Desk A", "Desk B", "Desk C"]);
    shows(&[("desk", "Desk B"), ("desk-2", "Desk A"), ("desk-3", "Desk C")]).await;
    shutdown.cancel();
}

#[tokio::test]
async fn an_alias_belongs_to_a_reader_that_is_plugged_in() {
    let (say, heard) = std::sync::mpsc::channel();
    let settings = settings_of("[[reader]]\nmatch = 'Desk .*'\nalias = 'desk'");
    let present = |readers: &[&str]| {
        let empty = |name: &&str| SlotStatus { name: (*name).into(), card_present: false, event_count: 0, atr: vec![] };
        say.send(Ok(readers.iter().map(empty).collect())).unwrap();
    };
    present(&["Desk A"]);
    let shutdown = CancellationToken::new();
    let stack = Arc::new(Scripted(Mutex::new(Some(heard)), false));
    let (mut readers, _) = start(stack, settings, shutdown.clone(), TaskTracker::new()).await.unwrap();
    let mut shows = async |expected: &[(&str, &str)]| {
        let named = |view: &Arc<View>| {
            let names = view.readers().map(|reader| (reader.names.id.clone(), reader.names.display_name.clone()));
            names.collect::<Vec<_>>()
        };
        let expected: Vec<_> = expected.iter().map(|(id, name)| ((*id).to_owned(), (*name).to_owned())).collect();
        let seen = timeout(Duration::from_secs(30), readers.view.wait_for(|view| named(view) == expected)).await;
        assert!(seen.is_ok(), "{expected:?}");
    };
    shows(&[("desk", "Desk A")]).await;
    for (listed, expected) in [
        // It moves, and moves back.
        (&["Desk B"][..], &[("desk", "Desk B")][..]),
        (&["Desk A"], &[("desk", "Desk A")]),
        // The second one gets a number, also if it comes first in the list.
        (&["Desk B", "Desk A"], &[("desk", "Desk A"), ("desk-2", "Desk B")]),
        // A known reader keeps its name, a new one takes the name of one that is gone.
        (&["Desk B"], &[("desk-2", "Desk B")]),
        (&["Desk B", "Desk C"], &[("desk", "Desk C"), ("desk-2", "Desk B")]),
        (&["Desk A", "Desk B", "Desk C"], &[("desk", "Desk C"), ("desk-2", "Desk B"), ("desk-3", "Desk A")]),
        // A name without an alias is nobody else's.
        (&["Other"], &[("other", "Other")]),
        (&["Other ", "Desk A"], &[("desk-3", "Desk A"), ("other-2", "Other ")]),
    ] {
        present(listed);
        shows(expected).await;
    }
    // While the stack comes back, a reader that is missing may still come.
    present(&["Desk C"]);
    shows(&[("desk", "Desk C")]).await;
    say.send(Err(ServiceError::Down("restarts".into()))).unwrap();
    present(&["Desk D", "Other"]);
    shows(&[("desk", "Desk C"), ("other", "Other")]).await;
    shows(&[("desk", "Desk D"), ("other", "Other")]).await;
    shutdown.cancel();
}

#[tokio::test]
async fn the_last_reader_is_gone_when_the_stack_has_stopped_with_it() {
    let (say, heard) = std::sync::mpsc::channel();
    let empty = SlotStatus { name: "Desk".into(), card_present: false, event_count: 0, atr: vec![] };
    say.send(Ok(vec![empty.clone()])).unwrap();
    let shutdown = CancellationToken::new();
    let stack = Arc::new(Scripted(Mutex::new(Some(heard)), true));
    let (mut readers, _) = start(stack, settings(), shutdown.clone(), TaskTracker::new()).await.unwrap();
    let mut shows = async |expected: &[State]| {
        let states = |view: &Arc<View>| view.readers().map(|reader| reader.status.state).collect::<Vec<_>>();
        let seen = timeout(Duration::from_secs(30), readers.view.wait_for(|view| states(view) == expected)).await;
        assert!(seen.is_ok(), "{expected:?}");
    };
    shows(&[State::Empty]).await;
    // A service that is restarted is back before the reader counts as gone.
    for snapshot in [Err(ServiceError::Down("stopped".into())), Ok(vec![empty.clone()])] {
        say.send(snapshot).unwrap();
    }
    shows(&[State::Empty]).await;
    say.send(Err(ServiceError::Down("stopped".into()))).unwrap();
    shows(&[State::Unavailable]).await;
    say.send(Err(ServiceError::Down("does not run".into()))).unwrap();
    shows(&[]).await;
    say.send(Ok(vec![empty])).unwrap();
    shows(&[State::Empty]).await;
    shutdown.cancel();
}
