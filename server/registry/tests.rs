//! Tests of the start, with many readers and with a card stack that hangs.

use std::sync::{Mutex, mpsc::RecvTimeoutError};

use super::*;
use crate::backend::{Monitor, Slot, simulated::Simulated};

/// A card stack that does not return from the first call.
struct Hanging;

impl Backend for Hanging {
    fn monitor(&self) -> Box<dyn Monitor> {
        Box::new(Self)
    }

    fn wake_monitor(&self) {}

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

    fn slot(&self, display_name: &str) -> Box<dyn Slot> {
        self.0.slot(display_name)
    }
}

impl Monitor for ClosingMonitor {
    fn wait(&mut self, timeout: Duration) -> SlotSnapshot {
        self.0.wait(timeout)
    }
}

fn settings() -> RegistrySettings {
    let config = crate::config::Config::default();
    RegistrySettings {
        turns_moved: reader::TurnsMoved::default(),
        reader: Box::new(move |name| config.reader(name)),
        limits: Limits { per_caller: 1, per_reader: 1 },
        turns: Settings::default(),
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
