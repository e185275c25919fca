//! `cardbroker doctor`: the troubleshooting page as checks, each with what to type.

mod facts;
mod finding;
mod gather;
mod judge;
mod machine;
mod windows;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use cardbroker_client::{Endpoint, EndpointError};
use clap::Args;
use serde_json::json;

#[cfg(test)]
pub(crate) use self::facts::{BrokerFacts, Door, File, Found, Me, Pcsc, Place, Process};
pub(crate) use self::{
    facts::{Answer, Facts},
    finding::{Finding, Level},
    gather::{gather, within_limit},
    judge::judge,
};
use super::{Exit, Failure, Screen, daemon, json, layout::Paint};

/// Check everything between this user and a card, and say what to type. Needs no broker.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct DoctorArguments {
    /// Try this machine's PC/SC itself at the reader, step by step: what differs between systems, to send to the
    /// developers. End the broker first.
    #[arg(long)]
    pub(crate) winscard: bool,
    /// PC/SC's name of the reader to try [default: the first with a card, or else the first].
    #[arg(long, value_name = "NAME", requires = "winscard")]
    reader: Option<OsString>,
    /// Skip the steps that need a person at the reader.
    #[arg(long, requires = "winscard")]
    no_wait: bool,
    /// How long to wait for you at each step, 1s-10m [default: 30s].
    #[arg(long, value_name = "DURATION", requires = "winscard", conflicts_with = "no_wait")]
    wait: Option<OsString>,
}

const HELP: &str = "\
Examples:
  cardbroker doctor
  sudo cardbroker doctor --json
  cardbroker doctor --winscard
  cardbroker doctor --winscard --no-wait

--winscard connects to a card, resets it, and asks you to take it out and to insert it; it sends no command to it. \
Each line says whether the step went as with pcsc-lite (usual) or in another way (unusual), which is no fault. It \
names readers and nothing else of this machine.";

impl DoctorArguments {
    /// Runs the check of PC/SC; exits with its exit code.
    pub(crate) fn check_winscard(&self, json: bool) -> Result<ExitCode, Failure> {
        let valued = [("--reader", &self.reader), ("--wait", &self.wait)];
        let valued = valued.into_iter().filter_map(|(name, value)| Some([name.into(), value.clone()?]));
        let arguments: Vec<_> = valued.flatten().chain(self.no_wait.then(|| "--no-wait".into())).collect();
        daemon::check_winscard(&arguments, json)
    }
}

/// Makes all checks and prints the findings. Needs no broker.
pub(crate) async fn run(
    endpoint: Result<Option<Endpoint>, EndpointError>,
    token_file: Option<PathBuf>,
    json: bool,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let findings = judge(&gather(endpoint, token_file).await);
    if json {
        let list: Vec<_> = findings.iter().map(Finding::object).collect();
        json::write_line(screen.out, &json!({ "findings": list }))?;
    } else {
        let paint = Paint::on(screen.terminal);
        for finding in &findings {
            write!(screen.out, "{}", finding.paragraph(paint))?;
        }
        writeln!(screen.out, "\n{}", finding::summary(&findings))?;
    }
    let has_problem = findings.iter().any(|finding| finding.level == Level::Problem);
    if has_problem { Err(Failure::Reported(Exit::Problem)) } else { Ok(()) }
}
