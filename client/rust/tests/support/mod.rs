//! A broker without readers: scripted answers on a Unix socket of its own, and a record of the requests. The tests of
//! the library and those of the command line share it.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod diagnostics;
pub(crate) mod sample;
pub(crate) mod script;

use std::{
    os::unix::net::UnixListener,
    path::PathBuf,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use cardbroker_client::{Delivery, Endpoint, ErrorReason};
use cardbroker_proto::diagnostics::v1::diagnostics_service_server::DiagnosticsServiceServer;
use cardbroker_proto::v1::{
    ApduCommand, ApduResult, BrokerLimits, CallerInfo, CardProtocol, Command, CommandResult, GetBrokerRequest,
    GetBrokerResponse, GetReaderRequest, GetReaderResponse, ListReadersRequest, ListReadersResponse,
    OpenSessionRequest, OpenSessionResponse, Reader, ReaderState, ReadersSnapshot, TransmitRequest, TransmitResponse,
    TurnHolder, WaitingTurn, WatchReadersRequest, WatchReadersResponse, WatchTurnRequest, WatchTurnResponse,
    card_broker_service_server::{CardBrokerService, CardBrokerServiceServer},
    command::Action,
    command_result::Outcome,
    watch_readers_response::Event,
};
use diagnostics::{FakeDiagnostics, Operations};
use script::{agreeable, refusal};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::{
    Stream, StreamExt,
    wrappers::{ReceiverStream, UnixListenerStream, WatchStream},
};
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap, transport::Server};

/// The answer to a Transmit; `None`: no answer at all.
type Answer = dyn Fn(&TransmitRequest) -> Option<Result<TransmitResponse, Status>> + Send + Sync;

/// The broker's messages in a session after each message of the client.
type SessionAnswer = dyn Fn(&OpenSessionRequest) -> Vec<Result<OpenSessionResponse, Status>> + Send + Sync;

pub(crate) struct FakeBroker {
    folder: TempDir,
    service: Service,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

#[derive(Clone)]
struct Service {
    answer: Arc<Answer>,
    session_answer: Arc<SessionAnswer>,
    diagnostics: FakeDiagnostics,
    readers: watch::Sender<Vec<Reader>>,
    record: Arc<Mutex<Record>>,
    outcome_lifetime: Arc<Mutex<Duration>>,
    /// Whether GetBroker, GetReader and ListReaders are never answered.
    is_stuck: Arc<AtomicBool>,
}

#[derive(Default)]
pub(crate) struct Record {
    pub(crate) metadata: Vec<MetadataMap>,
    pub(crate) transmits: Vec<TransmitRequest>,
    pub(crate) resume_tokens: Vec<String>,
    pub(crate) session_requests: Vec<OpenSessionRequest>,
    /// The ways into the sessions, which do not keep them open.
    sessions: Vec<mpsc::WeakSender<Result<OpenSessionResponse, Status>>>,
    /// How sessions ended, in order: true for half-closed, false for reset.
    pub(crate) half_closed: Vec<bool>,
}

impl FakeBroker {
    /// Starts with two readers: `readers/desk` with a card, and the empty `readers/pcd-00-00`.
    pub(crate) fn start(
        answer: impl Fn(&TransmitRequest) -> Option<Result<TransmitResponse, Status>> + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(Arc::new(answer), Arc::new(agreeable))
    }

    /// Starts with sessions that `answer` scripts; Transmit is never answered.
    pub(crate) fn with_sessions(
        answer: impl Fn(&OpenSessionRequest) -> Vec<Result<OpenSessionResponse, Status>> + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(Arc::new(|_: &TransmitRequest| None), Arc::new(answer))
    }

    fn start_with(answer: Arc<Answer>, session_answer: Arc<SessionAnswer>) -> Self {
        let readers = watch::Sender::new(vec![ready("desk", "first"), empty()]);
        let service = Service {
            answer,
            session_answer,
            diagnostics: FakeDiagnostics::default(),
            readers,
            record: Arc::default(),
            outcome_lifetime: Arc::new(Mutex::new(Duration::from_secs(600))),
            is_stuck: Arc::default(),
        };
        let mut broker = Self { folder: TempDir::new().unwrap(), service, running: None };
        broker.restart();
        broker
    }

    /// Answers every command with `data` and 9000.
    pub(crate) fn answering(data: &'static [u8]) -> Self {
        Self::start(move |request| {
            let results = request.commands.iter().map(|_| result(data, 0x9000)).collect();
            Some(Ok(TransmitResponse { results, state_tag: "tag".into(), ..TransmitResponse::default() }))
        })
    }

    pub(crate) fn refusing(status: impl Fn() -> Status + Send + Sync + 'static) -> Self {
        Self::start(move |_| Some(Err(status())))
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::Unix(self.socket())
    }

    pub(crate) fn record(&self) -> std::sync::MutexGuard<'_, Record> {
        self.service.record.lock().unwrap()
    }

    /// The answers of the diagnostics service, and the requests to it.
    pub(crate) fn operations(&self) -> std::sync::MutexGuard<'_, Operations> {
        self.service.diagnostics.operations()
    }

    /// Says something in the latest session that answers nothing.
    pub(crate) fn say_in_session(&self, message: Result<OpenSessionResponse, Status>) {
        let session = self.record().sessions.last().unwrap().upgrade().unwrap();
        session.try_send(message).unwrap();
    }

    pub(crate) fn set_readers(&self, readers: Vec<Reader>) {
        self.service.readers.send_replace(readers);
    }

    pub(crate) fn keep_outcomes_for(&self, lifetime: Duration) {
        *self.service.outcome_lifetime.lock().unwrap() = lifetime;
    }

    /// From now on, queries are never answered.
    pub(crate) fn get_stuck(&self) {
        self.service.is_stuck.store(true, Ordering::Relaxed);
    }

    /// Drops every connection and the socket.
    pub(crate) fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            thread.join().unwrap();
            std::fs::remove_file(self.socket()).unwrap();
        }
    }

    pub(crate) fn restart(&mut self) {
        self.stop();
        let listener = UnixListener::bind(self.socket()).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (stop, stopped) = oneshot::channel();
        let service = self.service.clone();
        let thread = std::thread::spawn(move || serve(listener, service, stopped));
        self.running = Some((stop, thread));
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("broker.sock")
    }
}

impl Drop for FakeBroker {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The runtime ends with this function, and every connection with the runtime.
fn serve(listener: UnixListener, service: Service, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let incoming = UnixListenerStream::new(tokio::net::UnixListener::from_std(listener).unwrap());
        let diagnostics = DiagnosticsServiceServer::new(service.diagnostics.clone());
        let server = Server::builder().add_service(CardBrokerServiceServer::new(service)).add_service(diagnostics);
        tokio::select! {
            served = server.serve_with_incoming(incoming) => served.unwrap(),
            _ = stopped => {}
        }
    });
}

pub(crate) fn result(data: &[u8], status_word: i32) -> CommandResult {
    let apdu = ApduResult { data: data.to_vec(), status_word, ..ApduResult::default() };
    CommandResult { outcome: Some(Outcome::Apdu(apdu)), card_duration: None }
}

/// The APDU that a command sends.
pub(crate) fn apdu(command: &Command) -> &ApduCommand {
    match command.action.as_ref().unwrap() {
        Action::Apdu(apdu) => apdu,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn ready(id: &str, insertion_id: &str) -> Reader {
    Reader {
        name: format!("readers/{id}"),
        display_name: "Yubico YubiKey 00 00".into(),
        state: ReaderState::Ready.into(),
        atr: vec![0x3B, 0x80],
        active_protocol: CardProtocol::T1.into(),
        insertion_id: insertion_id.into(),
        insertion_count: 1,
    }
}

pub(crate) fn empty() -> Reader {
    Reader {
        name: "readers/pcd-00-00".into(),
        display_name: "PCD 00 00".into(),
        state: ReaderState::Empty.into(),
        ..Reader::default()
    }
}

impl Service {
    async fn unless_stuck(&self) {
        if self.is_stuck.load(Ordering::Relaxed) {
            std::future::pending().await
        }
    }
}

fn not_found() -> Status {
    refusal(ErrorReason::ReaderNotFound, Delivery::NotSent, "there is no such reader")
}

#[tonic::async_trait]
impl CardBrokerService for Service {
    type WatchReadersStream = Pin<Box<dyn Stream<Item = Result<WatchReadersResponse, Status>> + Send>>;
    type WatchTurnStream = ReceiverStream<Result<WatchTurnResponse, Status>>;
    type OpenSessionStream = ReceiverStream<Result<OpenSessionResponse, Status>>;

    async fn get_broker(&self, _: Request<GetBrokerRequest>) -> Result<Response<GetBrokerResponse>, Status> {
        self.unless_stuck().await;
        let caller = CallerInfo {
            principal: "user 1000".into(),
            process_id: Some(42),
            connection: 7,
            is_connection: false,
            group: 3,
        };
        let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let limits = BrokerLimits {
            max_message_bytes: 1 << 20,
            max_commands: 64,
            max_session_messages: 32,
            max_waiting_per_caller: 16,
            max_waiting_per_reader: 256,
            max_outcomes_per_user: 1000,
            outcome_lifetime: Some((*self.outcome_lifetime.lock().unwrap()).try_into().unwrap()),
            max_contended_lease: seconds(30),
            turn_quantum: None,
            max_contended_unit: seconds(10),
        };
        Ok(Response::new(GetBrokerResponse {
            version: "0.1.0".into(),
            epoch: "e1".into(),
            start_time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
            capabilities: Vec::new(),
            limits: Some(limits),
            caller: Some(caller),
        }))
    }

    async fn get_reader(&self, request: Request<GetReaderRequest>) -> Result<Response<GetReaderResponse>, Status> {
        self.unless_stuck().await;
        let name = request.into_inner().name;
        let reader = self.readers.borrow().iter().find(|reader| reader.name == name).cloned();
        reader.map(|reader| Response::new(GetReaderResponse { reader: Some(reader) })).ok_or_else(not_found)
    }

    /// Reports one waiting request, then a heartbeat, then that none waits; then fails.
    async fn watch_turn(&self, request: Request<WatchTurnRequest>) -> Result<Response<Self::WatchTurnStream>, Status> {
        // Of today, without a date: a line on a terminal with one has no room for the rest.
        let begin_time = Some(SystemTime::now().into());
        let holder = Some(TurnHolder { is_own: false, is_session: true, begin_time });
        let reader = request.into_inner().reader;
        let turn = WaitingTurn { reader, turns_ahead_count: 2, holder, ..WaitingTurn::default() };
        let (tell, stream) = mpsc::channel(4);
        let waiting = WatchTurnResponse { waiting: vec![turn], is_heartbeat: false };
        let heartbeat = WatchTurnResponse { is_heartbeat: true, ..WatchTurnResponse::default() };
        for message in [Ok(waiting), Ok(heartbeat), Ok(WatchTurnResponse::default()), Err(not_found())] {
            tell.send(message).await.unwrap();
        }
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn list_readers(&self, _: Request<ListReadersRequest>) -> Result<Response<ListReadersResponse>, Status> {
        self.unless_stuck().await;
        Ok(Response::new(ListReadersResponse { readers: self.readers.borrow().clone() }))
    }

    /// Reports every change as a snapshot with the token `after-` and the number of readers.
    async fn watch_readers(
        &self,
        request: Request<WatchReadersRequest>,
    ) -> Result<Response<Self::WatchReadersStream>, Status> {
        self.record.lock().unwrap().resume_tokens.push(request.into_inner().resume_token);
        let snapshots = WatchStream::new(self.readers.subscribe()).map(|readers| {
            let resume_token = format!("after-{}", readers.len());
            Ok(WatchReadersResponse { event: Some(Event::Snapshot(ReadersSnapshot { readers })), resume_token })
        });
        Ok(Response::new(Box::pin(snapshots)))
    }

    async fn transmit(&self, request: Request<TransmitRequest>) -> Result<Response<TransmitResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let answer = (self.answer)(&request);
        {
            let mut record = self.record.lock().unwrap();
            record.metadata.push(metadata);
            record.transmits.push(request);
        }
        match answer {
            Some(answer) => answer.map(Response::new),
            None => std::future::pending().await,
        }
    }

    async fn open_session(
        &self,
        request: Request<Streaming<OpenSessionRequest>>,
    ) -> Result<Response<Self::OpenSessionStream>, Status> {
        let (metadata, _, mut requests) = request.into_parts();
        self.record.lock().unwrap().metadata.push(metadata);
        let (answers, stream) = mpsc::channel(100);
        self.record.lock().unwrap().sessions.push(answers.downgrade());
        let service = self.clone();
        tokio::spawn(async move {
            let half_closed = loop {
                match requests.message().await {
                    Ok(Some(message)) => {
                        let told = (service.session_answer)(&message);
                        service.record.lock().unwrap().session_requests.push(message);
                        for answer in told {
                            answers.send(answer).await.unwrap();
                        }
                    }
                    Ok(None) => break true,
                    Err(_) => break false,
                }
            };
            service.record.lock().unwrap().half_closed.push(half_closed);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}
