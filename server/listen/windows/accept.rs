//! The accept loop of the pipe. Several instances wait for clients, so that one seldom finds the pipe busy; a client is
//! handed on once its first bytes have come, because the system tells its user only then.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use cardbroker_core::{caller::Caller, user::Account};
use cardbroker_pipe::{AccessList, client_identity, client_process};
use tokio::{
    sync::{Mutex, mpsc},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    pipe::PipeLock,
    stream::{Closing, End, Stream},
    take::{Obstacle, take},
};
use crate::policy::accounts;

/// The instances that wait for a client at the same time.
const WAITING: usize = 4;

/// Maximum clients that have sent nothing yet. A further one takes the place of the first of them.
pub(super) const MAX_SILENT: usize = 64;

/// The time for the first bytes of a client, which sends them without being asked.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause before the next try to make an instance.
const PAUSE: Duration = Duration::from_secs(1);

/// The pipe, while clients are accepted. Dropping it closes the pipe; accepted connections stay.
#[derive(Debug)]
pub(in crate::listen) struct Listener {
    accepted: Mutex<mpsc::Receiver<Client>>,
    closing: Closing,
    _accepting: AbortOnDropHandle<()>,
}

/// A client whose first bytes have come.
#[derive(Debug)]
struct Client {
    end: End,
    /// The user with the groups of its token; `None` if the system does not tell.
    account: Option<Account>,
}

impl Listener {
    /// Starts to accept. Connections that have ended join `closing`. Must be called inside a runtime.
    pub(super) fn start(instances: Instances, closing: Closing) -> Self {
        let (sender, accepted) = mpsc::channel(1);
        let accepting = Accepting { instances, sender, silent: JoinSet::new(), oldest_first: VecDeque::new() };
        let task = tokio::spawn(accepting.run());
        Self { accepted: Mutex::new(accepted), closing, _accepting: AbortOnDropHandle::new(task) }
    }

    /// Accepts the next client. Its connection gets the `next` number. Cancel-safe.
    pub(in crate::listen) async fn accept(&self, next: impl FnOnce() -> u64) -> io::Result<(Stream, Caller)> {
        let client = self.accepted.lock().await.recv().await.ok_or(io::ErrorKind::NotConnected)?;
        let caller = caller(next(), client.account, client_process(client.end.pipe()));
        Ok((Stream::new(client.end, self.closing.clone()), caller))
    }
}

/// The caller of a connection. The process is for display alone: its number may be another one's by now, so every
/// connection is a caller of its own.
fn caller(connection: u64, account: Option<Account>, process: Option<u32>) -> Caller {
    match account {
        Some(account) => Caller::local(connection, account, process, None),
        None => Caller::unknown(connection, process),
    }
}

/// The instances of the pipe that wait for a client. While the system grants no instance there may be none: the pipe
/// may then disappear, and another user may make one of its name.
#[derive(Debug)]
pub(super) struct Instances {
    name: String,
    access: AccessList,
    /// The lock of the broker, of which every instance has a share.
    lock: Arc<PipeLock>,
    first: Option<End>,
    waiting: JoinSet<io::Result<End>>,
    /// Whether the last instance could not be made.
    is_failing: bool,
}

impl Instances {
    /// Takes the pipe with its first instance. Must be called inside a runtime.
    ///
    /// # Errors
    /// [`Obstacle`].
    pub(super) fn first(name: &str, access: AccessList, lock: Arc<PipeLock>) -> Result<Self, Obstacle> {
        let first = Some(End::new(take(name, &access)?, Arc::clone(&lock)));
        Ok(Self { name: name.to_owned(), access, lock, first, waiting: JoinSet::new(), is_failing: false })
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING
    }

    /// Makes the missing instances, as far as the system allows. Warns once if it does not.
    fn refill(&mut self) {
        while !self.is_full() {
            let made = match self.first.take() {
                Some(first) => Ok(first),
                None => self.access.add(&self.name).map(|pipe| End::new(pipe, Arc::clone(&self.lock))),
            };
            match made {
                Ok(end) => {
                    self.is_failing = false;
                    self.waiting.spawn(async move { end.pipe().connect().await.map(|()| end) });
                }
                Err(error) => {
                    if !self.is_failing {
                        tracing::warn!(%error, "cannot make another instance of the pipe for now");
                    }
                    self.is_failing = true;
                    return;
                }
            }
        }
    }
}

/// The work of the accept loop.
struct Accepting {
    instances: Instances,
    sender: mpsc::Sender<Client>,
    /// The clients that have sent nothing yet.
    silent: JoinSet<Option<Client>>,
    oldest_first: VecDeque<AbortHandle>,
}

impl Accepting {
    /// Accepts until the listener is dropped.
    async fn run(mut self) {
        loop {
            self.instances.refill();
            tokio::select! {
                Some(opened) = self.instances.waiting.join_next() => {
                    // An error means that the client has gone already.
                    if let Ok(Ok(end)) = opened {
                        self.on_opened(end);
                    }
                }
                Some(known) = self.silent.join_next() => {
                    if let Ok(Some(client)) = known
                        && self.sender.send(client).await.is_err()
                    {
                        return;
                    }
                }
                () = sleep(PAUSE), if !self.instances.is_full() => {}
                () = self.sender.closed() => return,
            }
        }
    }

    fn on_opened(&mut self, end: End) {
        self.oldest_first.retain(|client| !client.is_finished());
        if self.oldest_first.len() >= MAX_SILENT
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            oldest.abort();
        }
        self.oldest_first.push_back(self.silent.spawn(identify(end)));
    }
}

/// Waits for the first bytes of a client and asks the system for its user; `None` if none come.
async fn identify(end: End) -> Option<Client> {
    timeout(FIRST_BYTES_TIMEOUT, end.pipe().readable()).await.ok()?.ok()?;
    let identity = client_identity(end.pipe());
    if let Err(error) = &identity {
        tracing::debug!(%error, "the system does not tell the user of a client");
    }
    let account = identity.ok().and_then(|identity| accounts::account_of(&identity));
    Some(Client { end, account })
}

#[cfg(test)]
mod tests {
    use cardbroker_pipe::NETWORK_SERVICE;

    use super::*;

    #[tokio::test]
    async fn no_instance_is_added_to_the_pipe_of_another_user() {
        let name = format!(r"\\.\pipe\cardbroker\instances-{}", std::process::id());
        let folder = tempfile::tempdir().unwrap();
        let lock = Arc::new(PipeLock::take(&folder.path().join("own/lock")).unwrap());
        let mut instances = Instances::first(&name, AccessList::new(None).unwrap(), lock).unwrap();
        instances.first = None;
        let foreign = AccessList::parse(&format!("O:{NETWORK_SERVICE}D:P(A;;GA;;;WD)")).unwrap();
        let foreign = foreign.create(&name).unwrap();
        instances.refill();
        assert!(instances.waiting.is_empty() && instances.is_failing);
        drop(foreign);
        instances.refill();
        assert!(instances.is_full() && !instances.is_failing);
    }
}
