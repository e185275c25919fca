//! A broker without readers: scripted answers on a Unix socket of its own, and a record of what it was asked.

use std::{
    os::unix::net::UnixListener,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use cardbroker_client::Endpoint;
use cardbroker_proto::v1::{
    CardProtocol, CommandResult, ListReadersRequest, ListReadersResponse, OpenSessionRequest, OpenSessionResponse,
    Reader, ReaderState, ReadersSnapshot, TransmitRequest, TransmitResponse, WatchReadersRequest, WatchReadersResponse,
    card_broker_service_server::{CardBrokerService, CardBrokerServiceServer},
    watch_readers_response::Event,
};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::{
    Stream, StreamExt,
    wrappers::{ReceiverStream, UnixListenerStream, WatchStream},
};
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap, transport::Server};

use crate::script::agreeable;

/// What the broker answers to a Transmit; `None`: nothing at all.
type Answer = dyn Fn(&TransmitRequest) -> Option<Result<TransmitResponse, Status>> + Send + Sync;

/// What the broker says in a session on each message that it gets.
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
    readers: watch::Sender<Vec<Reader>>,
    record: Arc<Mutex<Record>>,
}

#[derive(Default)]
pub(crate) struct Record {
    pub(crate) metadata: Vec<MetadataMap>,
    pub(crate) transmits: Vec<TransmitRequest>,
    pub(crate) resume_tokens: Vec<String>,
    pub(crate) session_requests: Vec<OpenSessionRequest>,
    /// How sessions ended, as the broker sees it: half-closed, or reset.
    pub(crate) half_closed: Vec<bool>,
}

impl FakeBroker {
    /// With two readers: `readers/desk` with a card, and the empty `readers/pcd-00-00`.
    pub(crate) fn start(
        answer: impl Fn(&TransmitRequest) -> Option<Result<TransmitResponse, Status>> + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(Arc::new(answer), Arc::new(agreeable))
    }

    /// With sessions that go as the test tells; Transmit is never answered.
    pub(crate) fn with_sessions(
        answer: impl Fn(&OpenSessionRequest) -> Vec<Result<OpenSessionResponse, Status>> + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(Arc::new(|_: &TransmitRequest| None), Arc::new(answer))
    }

    fn start_with(answer: Arc<Answer>, session_answer: Arc<SessionAnswer>) -> Self {
        let readers = watch::Sender::new(vec![ready("desk", "first"), empty()]);
        let service = Service { answer, session_answer, readers, record: Arc::default() };
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

    pub(crate) fn set_readers(&self, readers: Vec<Reader>) {
        self.service.readers.send_replace(readers);
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
        let server = Server::builder().add_service(CardBrokerServiceServer::new(service));
        tokio::select! {
            served = server.serve_with_incoming(incoming) => served.unwrap(),
            _ = stopped => {}
        }
    });
}

pub(crate) fn result(data: &[u8], status_word: u32) -> CommandResult {
    CommandResult { data: data.to_vec(), status_word, ..CommandResult::default() }
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

#[tonic::async_trait]
impl CardBrokerService for Service {
    type WatchReadersStream = Pin<Box<dyn Stream<Item = Result<WatchReadersResponse, Status>> + Send>>;
    type OpenSessionStream = ReceiverStream<Result<OpenSessionResponse, Status>>;

    async fn list_readers(&self, _: Request<ListReadersRequest>) -> Result<Response<ListReadersResponse>, Status> {
        Ok(Response::new(ListReadersResponse { readers: self.readers.borrow().clone() }))
    }

    /// Tells every change as a snapshot with the token `after-` and the number of readers.
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
