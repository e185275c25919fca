//! The program `operator`: another user's calls of the diagnostics service, each with its outcome on one line.

use std::{io, io::Write, path::PathBuf};

use cardbroker_proto::{
    diagnostics::v1::{
        GetStatusRequest, ReleaseRequest, ReloadRequest, SetLogFilterRequest,
        diagnostics_service_client::DiagnosticsServiceClient,
    },
    reason::REASON_TRAILER,
};
use cardbroker_tests::harness::users::become_user;
use clap::Parser;
use tonic::transport::Endpoint;

/// Print what the status shows, or the code and the reason of a failure.
#[derive(Parser)]
struct Arguments {
    /// The path of the broker's socket.
    socket: PathBuf,
    /// Become this user, by number.
    #[arg(long)]
    uid: u32,
    /// The call: status, release, reload or filter.
    call: String,
    /// The name of the reader, if the call needs one.
    reader: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    become_user(arguments.uid, arguments.uid)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(arguments))
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { socket, call, reader, .. } = arguments;
    let channel = Endpoint::from_shared(format!("unix://{}", socket.display()))?.connect().await?;
    let mut operator = DiagnosticsServiceClient::new(channel);
    let reader = reader.unwrap_or_default();
    let outcome = match &*call {
        "status" => operator.get_status(GetStatusRequest { reader }).await.map(|response| {
            let status = response.into_inner().status.unwrap_or_default();
            let readers = status.readers.into_iter().filter_map(|reader| Some(reader.reader?.name));
            let shown: Vec<_> = status.broker.map(|_| "broker".to_owned()).into_iter().chain(readers).collect();
            shown.join(" ")
        }),
        "release" => {
            let request = ReleaseRequest { reader, lease: "another-run-1".into(), reason: String::new() };
            operator.release(request).await.map(|response| response.into_inner().outcome().as_str_name().to_owned())
        }
        "reload" => operator.reload(ReloadRequest {}).await.map(|_| "reloaded".to_owned()),
        _ => {
            let duration = Some(prost_types::Duration { seconds: 1, nanos: 0 });
            let request = SetLogFilterRequest { filter: "info".into(), duration };
            operator.set_log_filter(request).await.map(|_| "changed".to_owned())
        }
    };
    let line = outcome.unwrap_or_else(|status| {
        let reason = status.metadata().get(REASON_TRAILER).and_then(|reason| reason.to_str().ok());
        format!("{} {}", code(status.code()), reason.unwrap_or("without a reason"))
    });
    writeln!(io::stdout(), "{line}")?;
    Ok(())
}

/// The name of a code in the contract's spelling.
fn code(code: tonic::Code) -> String {
    format!("{code:?}").chars().enumerate().fold(String::new(), |mut name, (index, letter)| {
        if index > 0 && letter.is_uppercase() {
            name.push('_');
        }
        name.extend(letter.to_uppercase());
        name
    })
}
