//! The end of a task without which the broker cannot go on.

use std::sync::{Mutex, mpsc};

use cardbroker_core::slot::{ServiceError, SlotName, SlotStatus};

use super::*;
use crate::backend::{Monitor, Slot, simulated::Simulated};

const LONG: Duration = Duration::from_secs(20);

/// A simulated reader whose monitor panics after its first look, at a word.
struct Unmonitored {
    readers: Simulated,
    word: Mutex<Option<mpsc::Receiver<()>>>,
}

struct FailingMonitor {
    monitor: Box<dyn Monitor>,
    has_looked: bool,
    word: mpsc::Receiver<()>,
}

impl Backend for Unmonitored {
    fn monitor(&self) -> Box<dyn Monitor> {
        let word = self.word.lock().unwrap().take().unwrap();
        Box::new(FailingMonitor { monitor: self.readers.monitor(), has_looked: false, word })
    }

    fn wake_monitor(&self) {
        self.readers.wake_monitor();
    }

    fn slot(&self, name: &SlotName) -> Box<dyn Slot> {
        self.readers.slot(name)
    }
}

impl Monitor for FailingMonitor {
    fn wait(&mut self, timeout: Duration) -> Result<Vec<SlotStatus>, ServiceError> {
        if std::mem::replace(&mut self.has_looked, true) {
            self.word.recv().unwrap();
            panic!("as scripted");
        }
        self.monitor.wait(timeout)
    }
}

async fn start(backend: Arc<dyn Backend>) -> (Server, tempfile::TempDir) {
    start_with(backend, None).await
}

/// Starts a server, with a door for PC/SC programs if it has a name in the server's folder.
async fn start_with(backend: Arc<dyn Backend>, door: Option<&str>) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.listen.socket = match folder.path().file_name() {
        Some(name) if cfg!(windows) => format!(r"\\.\pipe\cardbroker\{}", name.display()).into(),
        _ => folder.path().join("cardbroker.sock"),
    };
    let door = door.map(|name| folder.path().join(name));
    let bound = Bound::bind(&config.listen).unwrap().with_door(&config.listen, door.as_deref()).unwrap();
    (Server::start(config, Ok(Tokens::default()), bound, backend, "test".into(), None).await.unwrap(), folder)
}

/// How the server ends without a signal.
async fn end(server: Server) -> Result<Drain, ServerError> {
    timeout(LONG, server.run(async || pending().await, || Ok(Config::default()), ServiceManager::default()))
        .await
        .expect("the server ends")
}

#[tokio::test]
async fn the_end_of_the_monitor_thread_stops_the_server() {
    let (fail, word) = mpsc::channel();
    let (server, _folder) =
        start(Arc::new(Unmonitored { readers: Simulated::new(1), word: Mutex::new(Some(word)) })).await;
    let actors = server.tasks.actors();
    assert_eq!(actors.len(), 1);
    fail.send(()).unwrap();
    assert_eq!(
        end(server).await.unwrap_err().to_string(),
        "the monitor thread has ended by itself: restart the broker and report the fault"
    );
    assert!(actors.is_empty(), "the readers were released");
}

#[tokio::test]
async fn serving_that_ends_by_itself_is_a_failure() {
    let (server, _folder) = start(Arc::new(Simulated::new(1))).await;
    server.draining.cancel();
    assert_eq!(
        end(server).await.unwrap_err().to_string(),
        "the task that serves has ended by itself: restart the broker and report the fault"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn the_end_of_the_door_stops_the_server() {
    let (server, _folder) = start_with(Arc::new(Simulated::new(1)), Some("pcscd.comm")).await;
    server.door.as_ref().unwrap().abort_accepting();
    assert_eq!(
        end(server).await.unwrap_err().to_string(),
        "the task that accepts PC/SC programs has ended by itself: restart the broker and report the fault"
    );
}
