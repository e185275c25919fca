//! The contract without the client library: generated stubs, and all places where a status gives its reason.

use std::path::Path;

use anyhow::Context;
use cardbroker_client::hex;
use cardbroker_proto::{
    diagnostics::v1::diagnostics_service_client::DiagnosticsServiceClient,
    reason::{DELIVERY_TRAILER, ERROR_DOMAIN, REASON_TRAILER},
    v1::{
        ApduCommand, ApduResult, Command, CommandResult, Failure, StatusDetails, TransmitRequest, TransmitResponse,
        TurnOptions, WatchReadersRequest, WatchReadersResponse, card_broker_service_client::CardBrokerServiceClient,
        command::Action, command_result::Outcome,
    },
};
use cardbroker_tests::harness::broker::Broker;
use prost::Message;
use tokio::time::timeout;
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt;

use crate::world::LONG;

pub(crate) type Stub = CardBrokerServiceClient<Channel>;

/// The broker's socket as an endpoint, for a separate connection.
pub(crate) fn transport(broker: &Broker) -> anyhow::Result<Endpoint> {
    transport_to(&broker.socket())
}

/// Any socket as an endpoint.
pub(crate) fn transport_to(socket: &Path) -> anyhow::Result<Endpoint> {
    Ok(Endpoint::from_shared(format!("unix://{}", socket.display()))?)
}

/// Opens a separate connection to the broker.
pub(crate) async fn channel(broker: &Broker) -> anyhow::Result<Channel> {
    Ok(transport(broker)?.connect().await?)
}

/// A stub with a separate connection, which can send more than the broker accepts.
pub(crate) async fn stub(broker: &Broker) -> anyhow::Result<Stub> {
    Ok(CardBrokerServiceClient::new(channel(broker).await?))
}

/// A stub of the diagnostics service with a separate connection.
pub(crate) async fn diagnostics(broker: &Broker) -> anyhow::Result<DiagnosticsServiceClient<Channel>> {
    Ok(DiagnosticsServiceClient::new(channel(broker).await?))
}

/// A unit with the contract's defaults.
pub(crate) fn request(reader: &str, apdus: &[&str]) -> TransmitRequest {
    let commands = apdus.iter().map(|apdu| command(hex::parse(apdu).unwrap().to_vec())).collect();
    TransmitRequest { reader: reader.into(), commands, ..TransmitRequest::default() }
}

/// A command with the contract's defaults.
pub(crate) fn command(bytes: Vec<u8>) -> Command {
    let apdu = ApduCommand { bytes, ..ApduCommand::default() };
    Command { action: Some(Action::Apdu(apdu)), ..Command::default() }
}

/// The card's answer to an APDU.
pub(crate) fn apdu(result: &CommandResult) -> &ApduResult {
    match &result.outcome {
        Some(Outcome::Apdu(apdu)) => apdu,
        other => panic!("not the answer to an APDU: {other:?}"),
    }
}

/// The terms of a turn with a wait of its own.
pub(crate) fn waiting_for(wait_timeout: Option<prost_types::Duration>) -> Option<TurnOptions> {
    Some(TurnOptions { wait_timeout, ..TurnOptions::default() })
}

/// Runs a unit, with a deadline long enough for it.
pub(crate) async fn transmit(stub: &mut Stub, request: TransmitRequest) -> Result<TransmitResponse, Status> {
    timeout(LONG, stub.transmit(request)).await.expect("no answer").map(tonic::Response::into_inner)
}

/// Opens a watch stream of the readers.
pub(crate) async fn watch(stub: &mut Stub) -> anyhow::Result<Streaming<WatchReadersResponse>> {
    Ok(timeout(LONG, stub.watch_readers(WatchReadersRequest::default())).await??.into_inner())
}

/// The next message of a stream, which must come in time.
pub(crate) async fn next<T>(stream: &mut Streaming<T>) -> anyhow::Result<T> {
    timeout(LONG, stream.message()).await??.context("the stream has ended")
}

/// A failure as "CODE REASON delivery"; the failure, ErrorInfo and the plain trailers must agree on it.
pub(crate) fn told(status: &Status) -> String {
    let details = status.get_error_details();
    let trailer = |name| status.metadata().get(name).and_then(|value| value.to_str().ok()).unwrap_or("none");
    let (reason, delivery) = (trailer(REASON_TRAILER), trailer(DELIVERY_TRAILER));
    let Some(info) = details.error_info() else { return format!("{:?} without ErrorInfo: {status:?}", status.code()) };
    assert_eq!((&*info.domain, &*info.reason, &*info.metadata["delivery"]), (ERROR_DOMAIN, reason, delivery));
    let failure = failure(status).expect("a Failure beside the ErrorInfo");
    assert_eq!((failure.reason().short_name(), failure.delivery().short_name()), (reason, delivery));
    assert_eq!((failure.code, &*failure.message), (status.code() as i32, status.message()));
    format!("{:?} {reason} {delivery}", status.code())
}

/// The failure in the details of a status.
pub(crate) fn failure(status: &Status) -> Option<Failure> {
    let details = StatusDetails::decode(status.details()).ok()?.details;
    let failure = details.into_iter().find(|any| any.type_url.ends_with("/cardbroker.v1.Failure"))?;
    Failure::decode(&failure.value[..]).ok()
}

/// The first field that a failure names, if any.
pub(crate) fn field(status: &Status) -> Option<String> {
    let details = status.get_error_details();
    details.bad_request().map(|request| request.field_violations[0].field.clone())
}

/// The outcome of a call with a message of another type than the method's request.
pub(crate) async fn refused_call(broker: &Broker, method: &'static str) -> anyhow::Result<Status> {
    let mut client = Grpc::new(channel(broker).await?);
    client.ready().await?;
    let codec = ProstCodec::<prost_types::Duration, prost_types::Duration>::default();
    let message = Request::new(prost_types::Duration { seconds: 1, nanos: 0 });
    let path = format!("/cardbroker.v1.CardBrokerService/{method}").try_into()?;
    let answer = timeout(LONG, client.unary(message, path, codec)).await?;
    answer.err().context("the call was answered")
}
