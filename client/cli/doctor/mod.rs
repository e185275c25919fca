//! `cardbroker doctor`: the troubleshooting page as checks, each with what to type.

mod facts;
mod finding;
mod gather;
mod judge;
mod machine;

use std::path::PathBuf;

use cardbroker_client::{Endpoint, EndpointError};
use serde_json::json;

#[cfg(test)]
pub(crate) use self::facts::{BrokerFacts, Door, File, Found, Me, Pcsc, Place, Process};
pub(crate) use self::{
    facts::{Answer, Facts},
    finding::{Finding, Level},
    gather::{gather, within_limit},
    judge::judge,
};
use super::{Exit, Failure, Screen, json, layout::Paint};

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
