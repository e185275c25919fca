//! A program that speaks the client protocol, and the door that it speaks to.

use std::{path::Path, sync::Arc, time::Duration};

use cardbroker_core::{
    caller::Caller,
    pcsclite::code::Code,
    policy::Policy,
    status::{ReaderStatus, State},
    user::{example, example_account},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::terms::{READER, SHARED};
use crate::{
    backend::simulated::Simulated,
    broker::{Broker, BrokerTasks},
    caller::group::GroupKey,
    config::{Config, ListenConfig, PcscliteConfig},
    listen::{Bound, DoorBudgets, ListenGuard},
    pcsclite::{
        DoorSettings, IdleTimes, PrivateDoors,
        door::{Entrance, Shared},
    },
    policy::audit::AuditTrail,
};

/// No answer takes longer, unless a program waits for its turn.
const LONGEST: Duration = Duration::from_secs(20);
/// The number of a user of Windows among the examples: the door is the same for all users.
pub(super) const USER: u32 = 1001;

/// A broker with simulated readers, and its door without a listener.
pub(super) struct World {
    tasks: BrokerTasks,
    /// The readers, to insert and remove cards.
    pub(super) readers: Simulated,
    shared: Arc<Shared>,
    config: Config,
    connections: TaskTracker,
    next: u64,
}

impl World {
    pub(super) async fn new(pcsclite: PcscliteConfig) -> Self {
        let mut config = Config::default();
        config.pcsclite = pcsclite;
        Self::with(config, IdleTimes::default()).await
    }

    /// A world with the default configuration.
    pub(super) async fn usual() -> Self {
        Self::new(PcscliteConfig::default()).await
    }

    /// A world of a broker with this configuration, at whose door handles may idle for so long.
    pub(super) async fn with(mut config: Config, idle: IdleTimes) -> Self {
        let (cards, trail) = (Simulated::new(2), AuditTrail::default());
        let backend = Arc::new(cards.clone());
        let policy = Policy::new(std::mem::take(&mut config.rules), example(USER));
        let (broker, tasks) = Broker::start(backend, config.clone(), policy, trail, "epoch".into()).await.unwrap();
        let mut readers = broker.follow_readers(&Caller::local(1, example_account(USER), Some(1), Some(1)));
        while readers.list().iter().any(|reader| reader.status.state != State::Ready) {
            readers.changed().await.unwrap();
        }
        let settings = DoorSettings { idle, ..DoorSettings::new(&config) };
        let shared = Shared::new(broker, settings, DoorBudgets::default(), CancellationToken::new());
        Self { tasks, readers: cards, shared, config, connections: TaskTracker::new(), next: 1 }
    }

    /// Waits until the broker does not hold the card of the first reader.
    pub(super) async fn becomes_released(&self) {
        self.becomes(0, |status| status.protocol.is_none()).await;
    }

    /// Waits until the broker takes a new card in the reader with this index.
    pub(super) async fn becomes_settling(&self, reader: usize) {
        self.becomes(reader, |status| status.state == State::Settling).await;
    }

    /// Waits until the card in the first reader can be used.
    pub(super) async fn becomes_ready(&self) {
        self.becomes(0, |status| status.state == State::Ready).await;
    }

    async fn becomes(&self, reader: usize, wished: impl Fn(&ReaderStatus) -> bool) {
        let mut readers = self.shared.broker.follow_readers(&Caller::local(1, example_account(USER), Some(1), Some(1)));
        while !wished(&readers.list().iter().nth(reader).unwrap().status) {
            timeout(LONGEST, readers.changed()).await.expect("the reader stays as it is").unwrap();
        }
    }

    /// Opens a new door in front of the same broker, where no request was refused yet. Nobody is connected to the old.
    pub(super) fn open_another_door(&mut self) {
        self.open_door_with(DoorSettings::new(&self.config));
    }

    /// Opens a new door with these settings in front of the same broker.
    pub(super) fn open_door_with(&mut self, settings: DoorSettings) {
        let draining = CancellationToken::new();
        self.shared = Shared::new(self.shared.broker.clone(), settings, DoorBudgets::default(), draining);
    }

    /// The number of requests of the process that wait for their turn.
    pub(super) async fn waiting(&self, pid: u32) -> usize {
        let caller = Caller::local(0, example_account(USER), Some(pid), Some(7));
        self.shared.broker.turns(&caller, None).query().await.unwrap().len()
    }

    /// In one step, inserts a card anew for the process with this number, and cancels the wait of its context.
    pub(super) fn change_and_cancel(&self, pid: u32, context: u32) {
        let caller = Caller::local(0, example_account(USER), Some(pid), Some(7));
        let (state, readers) = (&self.shared.state, self.shared.broker.follow_readers(&caller).list());
        let member = state.enter(&caller);
        state.reinsert(&member, &readers.iter().next().unwrap().name);
        state.refresh(&member, &readers);
        assert_eq!(state.cancel(&member, context), Code::SUCCESS);
    }

    /// Connects the process with this number.
    pub(super) fn connect(&mut self, pid: u32) -> Program {
        self.connect_at(pid, USER, &Entrance::Main)
    }

    /// Connects the process with this number, of this user, by this entrance.
    pub(super) fn connect_at(&mut self, pid: u32, user: u32, entrance: &Entrance) -> Program {
        self.connect_as(|connection| Caller::local(connection, example_account(user), Some(pid), Some(7)), entrance)
    }

    /// Connects the caller for the number of its connection, by this entrance.
    pub(super) fn connect_as(&mut self, caller: impl FnOnce(u64) -> Caller, entrance: &Entrance) -> Program {
        let (here, there) = UnixStream::pair().unwrap();
        self.next += 1;
        self.shared.admit(&self.connections, there, caller(self.next), entrance);
        Program { stream: here, context: 0 }
    }

    /// A private door of a process of the user, until the token is cancelled.
    pub(super) fn private_door(&self) -> (Entrance, CancellationToken) {
        let opener = Caller::local(0, example_account(USER), Some(99), Some(7));
        let closing = self.shared.private();
        let group = GroupKey::Caller(opener.key);
        (Entrance::Private { group, user: opener.principal(), closing: closing.clone() }, closing)
    }

    /// Opens private doors, with sockets in this folder.
    pub(super) fn private_doors(&self, folder: &Path) -> (PrivateDoors, ListenGuard) {
        let listen = ListenConfig { socket: folder.join("cardbroker.sock"), ..self.config.listen.clone() };
        let bound = Bound::bind(&listen).unwrap().with_door(&listen, Some(&folder.join("pcscd.comm"))).unwrap();
        let (_incoming, door, guard) = bound.incoming(&listen, CancellationToken::new()).unwrap();
        (PrivateDoors::new(Arc::clone(&self.shared), door.unwrap().private), guard)
    }

    /// A program of the process with this number, with a shared handle at the first reader.
    pub(super) async fn program_with_handle(&mut self, pid: u32) -> (Program, u32) {
        let mut program = self.program(pid, 4).await;
        let (handle, _) = program.connect(READER, SHARED).await.unwrap();
        (program, handle)
    }

    /// Programs of one user, each with a shared handle at the first reader.
    pub(super) async fn programs<const COUNT: usize>(&mut self) -> [(Program, u32); COUNT] {
        let mut programs = Vec::new();
        for pid in (1..).take(COUNT) {
            programs.push(self.program_with_handle(pid).await);
        }
        programs.try_into().unwrap_or_else(|_| panic!("{COUNT} programs"))
    }

    /// A program with a context.
    pub(super) async fn program(&mut self, pid: u32, minor: u32) -> Program {
        let mut program = self.connect(pid);
        program.establish(minor).await;
        program
    }

    pub(super) async fn stop(self) {
        self.shared.close();
        self.connections.close();
        self.connections.wait().await;
        self.tasks.stop().await;
    }
}

/// One connection of a program.
pub(super) struct Program {
    pub(super) stream: UnixStream,
    pub(super) context: u32,
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap())).collect()
}

impl Program {
    /// Agrees on a version and establishes the context.
    pub(super) async fn establish(&mut self, minor: u32) {
        assert_eq!(self.call(0x11, &[4, minor, 0]).await, [4, minor, 0]);
        let established = self.call(0x01, &[2, 0, 0]).await;
        assert_eq!(established[2], 0);
        self.context = established[1];
    }

    pub(super) async fn send(&mut self, command: u32, body: &[u8], payload: &[u8]) {
        let header = bytes(&[u32::try_from(body.len()).unwrap(), command]);
        for part in [&*header, body, payload] {
            self.send_bytes(part).await;
        }
    }

    pub(super) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Ends the program's side of the connection.
    pub(super) async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    pub(super) async fn receive(&mut self, length: usize) -> Vec<u8> {
        let mut answer = vec![0; length];
        timeout(LONGEST, self.stream.read_exact(&mut answer)).await.expect("no answer").unwrap();
        answer
    }

    /// Reads so many elements of the array of readers.
    pub(super) async fn receive_array(&mut self, elements: usize) -> Vec<u8> {
        let array = self.receive(elements * 184).await;
        assert!(array.starts_with(READER.as_bytes()), "something is in front of the array");
        array
    }

    /// Asks for the size of the array, as version 4:6 does.
    pub(super) async fn array_size(&mut self) -> Vec<u8> {
        self.send(0x16, &[], &[]).await;
        self.receive(4).await
    }

    /// Reads the message to a client that waits: it was cancelled, or not.
    pub(super) async fn receive_notice(&mut self) -> Code {
        let notice = words(&self.receive(8).await);
        let code = Code(notice[1]);
        assert!(notice[0] == 0 && [Code::SUCCESS, Code::CANCELLED].contains(&code), "{notice:?}");
        code
    }

    /// Whether the door has closed the connection, without another byte.
    pub(super) async fn is_closed(&mut self) -> bool {
        let read = timeout(LONGEST, self.stream.read(&mut [0])).await.expect("the connection stays open");
        // The door may have left bytes unread.
        read.map_or_else(|error| error.kind() == std::io::ErrorKind::ConnectionReset, |bytes| bytes == 0)
    }

    /// Whether the door answers a new connection, and has not closed it.
    pub(super) async fn is_served(&mut self) -> bool {
        // The door may have closed it before the request.
        let sent = self.stream.write_all(&bytes(&[12, 0x11, 4, 4, 0])).await;
        let mut answer = [0; 12];
        let received = timeout(LONGEST, self.stream.read_exact(&mut answer)).await.expect("no answer");
        sent.is_ok() && received.is_ok()
    }

    /// Sends a request whose answer has the size of its body.
    pub(super) async fn call(&mut self, command: u32, body: &[u32]) -> Vec<u32> {
        self.send(command, &bytes(body), &[]).await;
        words(&self.receive(4 * body.len()).await)
    }

    /// The code of such a request.
    pub(super) async fn code(&mut self, command: u32, body: &[u32]) -> Code {
        Code(*self.call(command, body).await.last().unwrap())
    }

    /// Connects to a reader; returns the handle and the protocol.
    pub(super) async fn connect(&mut self, reader: &str, share: u32) -> Result<(u32, u32), Code> {
        let mut body = bytes(&[self.context]);
        body.extend(reader.as_bytes());
        body.resize(132, 0);
        body.extend(bytes(&[share, 3, 0, 0, 0]));
        self.send(0x04, &body, &[]).await;
        let answer = words(&self.receive(152).await);
        if answer[37] == 0 { Ok((answer[35], answer[36])) } else { Err(Code(answer[37])) }
    }

    pub(super) async fn begin(&mut self, handle: u32) -> Code {
        self.code(0x07, &[handle, 0]).await
    }

    pub(super) async fn end(&mut self, handle: u32, disposition: u32) -> Code {
        self.code(0x08, &[handle, disposition, 0]).await
    }

    pub(super) async fn status(&mut self, handle: u32) -> Code {
        self.code(0x0B, &[handle, 0]).await
    }

    /// Reconnects as a shared handle.
    pub(super) async fn reconnect(&mut self, handle: u32, initialization: u32) -> Code {
        self.code(0x05, &[handle, SHARED, 3, initialization, 0, 0]).await
    }

    /// Reconnects with this share mode, and leaves the card as it is.
    pub(super) async fn reconnect_as(&mut self, handle: u32, share: u32) -> Code {
        self.code(0x05, &[handle, share, 3, 0, 0, 0]).await
    }

    pub(super) async fn disconnect(&mut self, handle: u32, disposition: u32) -> Code {
        self.code(0x06, &[handle, disposition, 0]).await
    }

    /// Sends a command on T=1 with this room for the answer.
    /// Sends a command to the card, and does not wait for the answer.
    pub(super) async fn ask(&mut self, handle: u32, command: &[u8], room: u32) {
        let length = u32::try_from(command.len()).unwrap();
        self.send(0x09, &bytes(&[handle, 2, 8, length, 3, 16, room, 0]), command).await;
    }

    pub(super) async fn transmit_into(&mut self, handle: u32, command: &[u8], room: u32) -> Result<Vec<u8>, Code> {
        self.ask(handle, command, room).await;
        let answer = words(&self.receive(32).await);
        if answer[7] == 0 { Ok(self.receive(answer[6] as usize).await) } else { Err(Code(answer[7])) }
    }

    pub(super) async fn transmit(&mut self, handle: u32, command: &[u8]) -> Result<Vec<u8>, Code> {
        self.transmit_into(handle, command, 65_548).await
    }
}
