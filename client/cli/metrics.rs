//! `cardbroker metrics`: the broker's counters, gauges and histograms.

use cardbroker_client::Client;
use clap::Args;
use serde_json::json;

use super::{Failure, Screen, json::write_line, printable};

/// The permission that shows metrics.
const NEEDED: &str = "metrics";

/// Print the broker's metrics as OpenMetrics text, for Prometheus and others; for operators.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct MetricsArguments {}

const HELP: &str = "\
Examples:
  cardbroker metrics
  cardbroker metrics > /var/lib/prometheus/node-exporter/cardbroker.prom.tmp

Needs the permission metrics, which a rule must grant by name: `all` does not include it. Without rules the user that \
runs the broker and root have it. A rule that is restricted to some readers shows the metrics of those only. \
`denied by rule ...` means that this rule decides, or that none allows it: cardbroker policy check --help.";

pub(crate) async fn run(client: &Client, json: bool, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let text = client.diagnostics().metrics().await.map_err(|error| Failure::operator(error, NEEDED))?;
    if json {
        return Ok(write_line(screen.out, &json!({ "open_metrics": text }))?);
    }
    for line in text.lines() {
        writeln!(screen.out, "{}", printable(line))?;
    }
    Ok(())
}
