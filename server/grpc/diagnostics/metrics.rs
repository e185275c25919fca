//! `GetMetrics`: what the journals have counted, as OpenMetrics text.

use std::{fmt, sync::Arc};

use cardbroker_core::{
    error::{Failure, Reason},
    journal::{Counters, Histogram, Origin},
    policy::rule::Operation,
};
use cardbroker_proto::{MAX_MESSAGE_BYTES, diagnostics::v1::GetMetricsResponse};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::{Registry, Unit},
};

use super::Diagnostics;
use crate::{
    broker::DiagnosedReader,
    grpc::{convert::to_i64, readers::state_name},
    process::telemetry::LogControl,
    reader::snapshot::ReaderSnapshot,
};

/// The most bytes of a response: what a message of the contract may hold, less the rest of the message.
const MAX_BYTES: usize = MAX_MESSAGE_BYTES - 1_024;

/// The metrics of one moment.
#[derive(Debug)]
struct Moment {
    /// The readers that the operator may see.
    readers: Vec<Reader>,
    /// The metrics of the broker itself, if the operator may see them.
    broker: Option<BrokerMetrics>,
    /// Whether the histograms of readers, which are five sixths of the text, are left out.
    is_short: bool,
}

/// One reader at that moment.
#[derive(Debug, Clone)]
struct Reader {
    name: String,
    /// The state, by its name in the contract without the prefix.
    state: &'static str,
    snapshot: Arc<ReaderSnapshot>,
}

#[derive(Debug, Clone, Copy)]
struct BrokerMetrics {
    is_pcsc_up: bool,
    connections: u64,
    denied: u64,
    unauthenticated: u64,
    over_budget: u64,
    lost_log_lines: u64,
}

impl Diagnostics {
    /// Returns the metrics that the caller of the request `origin` may read, without histograms if there are too many
    /// readers for one message.
    ///
    /// # Errors
    /// [`Reason::Denied`] if the caller may read none, [`Reason::ResponseTooLarge`] if there are too many readers even
    /// so.
    pub(super) async fn metrics(&self, origin: &Origin) -> Result<GetMetricsResponse, Failure> {
        self.broker.check_anywhere(origin, Operation::Metrics)?;
        let seen = self.broker.measure(&origin.caller).await;
        let readers = seen.readers.into_iter();
        let reader = |DiagnosedReader { view, snapshot }| {
            Some(Reader { name: view.name.to_string(), state: state_name(view.status.state), snapshot: snapshot? })
        };
        let readers: Vec<_> = readers.filter_map(reader).collect();
        let (denied, unauthenticated) = self.broker.refusals();
        let broker = seen.includes_broker.then(|| BrokerMetrics {
            is_pcsc_up: self.broker.stack().problem.is_none(),
            connections: self.facts.connections.open() as u64,
            denied,
            unauthenticated,
            over_budget: (self.facts.over_budget)(),
            lost_log_lines: self.facts.log.as_ref().map_or(0, LogControl::lost_lines),
        });
        text_of(&readers, broker).map(|text| GetMetricsResponse { text }).ok_or_else(|| {
            let message = "the metrics of all readers exceed 1 MiB: allow metrics at fewer readers";
            Failure::not_sent(Reason::ResponseTooLarge, message)
        })
    }
}

/// The metrics as text, without the histograms of readers if it would not fit into a message; `None` if it does not fit
/// even so.
fn text_of(readers: &[Reader], broker: Option<BrokerMetrics>) -> Option<String> {
    let text = |is_short| Moment { readers: readers.to_vec(), broker, is_short }.text();
    let fits = |text: &String| text.len() <= MAX_BYTES;
    text(false).filter(fits).or_else(|| text(true).filter(fits))
}

/// A counter of each reader: its name, its help, and its value.
type ReaderCounter = (&'static str, &'static str, fn(&Counters) -> u64);

const COUNTERS: [ReaderCounter; 9] = [
    ("units", "Units that got their turn, without those in sessions", |counters| counters.units),
    ("sessions", "Sessions that got their turn", |counters| counters.sessions),
    ("commands", "Commands that were sent, with those that the broker sent by itself", |counters| counters.commands),
    ("failed_commands", "Commands that the card did not answer", |counters| counters.failed_commands),
    ("resets", "Resets of the card by the broker", |counters| counters.resets),
    ("insertions", "Insertions of cards", |counters| counters.insertions),
    ("denials", "Requests and commands that the policy denied", |counters| counters.denied),
    ("not_served", "Requests that waited in vain or could not wait", |counters| counters.not_served),
    ("releases", "Turns that operators have ended", |counters| counters.released),
];

/// A histogram of each reader.
type ReaderHistogram = (&'static str, &'static str, fn(&Counters) -> &Histogram);

const HISTOGRAMS: [ReaderHistogram; 3] = [
    ("wait", "Time from the arrival of a request to its turn", |counters| &counters.wait_times),
    ("turn", "Duration of turns", |counters| &counters.turn_times),
    (
        "command",
        "Time of the driver and the card for a command; rounded up to 50 ms if it may present a secret",
        |counters| &counters.card_times,
    ),
];

/// A gauge of each reader.
type ReaderGauge = (&'static str, &'static str, fn(&ReaderSnapshot) -> i64);

const GAUGES: [ReaderGauge; 3] = [
    ("waiting", "Requests that wait for their turn", |reader| to_i64(reader.waiter_count)),
    ("held", "1 while a unit or a session has the turn", |reader| i64::from(reader.holder.is_some())),
    ("driver_overdue", "1 while a call of the driver does not return in time", |reader| {
        i64::from(reader.call.is_some_and(|call| call.is_overdue))
    }),
];

impl Collector for Moment {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, value) in COUNTERS {
            self.each(encoder.encode_descriptor(name, help, None, MetricType::Counter)?, |metric, reader| {
                metric.encode_counter::<NoLabelSet, _, u64>(&value(&reader.counters), None)
            })?;
        }
        for (name, help, value) in GAUGES {
            self.each(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?, |metric, reader| {
                metric.encode_gauge(&value(reader))
            })?;
        }
        let mut states =
            encoder.encode_descriptor("state", "1 for the state of the reader", None, MetricType::Gauge)?;
        for Reader { name, state, .. } in &self.readers {
            states.encode_family(&[("reader", name.as_str()), ("state", state)])?.encode_gauge(&1_i64)?;
        }
        let help = "1 if the histograms of readers are left out, because the metrics would exceed 1 MiB";
        let mut left_out = encoder.encode_descriptor("histograms_left_out", help, None, MetricType::Gauge)?;
        left_out.encode_gauge(&i64::from(self.is_short))?;
        for (name, help, value) in HISTOGRAMS.into_iter().filter(|_| !self.is_short) {
            let metric = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
            self.each(metric, |metric, reader| {
                let histogram = value(&reader.counters);
                let bound =
                    |bound: Option<std::time::Duration>| bound.map_or(f64::INFINITY, |bound| bound.as_secs_f64());
                let buckets: Vec<_> = histogram.buckets().map(|(upper, count)| (bound(upper), count)).collect();
                let (sum, count) = (histogram.sum().as_secs_f64(), histogram.count());
                metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
            })?;
        }
        let Some(broker) = &self.broker else { return Ok(()) };
        let BrokerMetrics { is_pcsc_up, connections, denied, unauthenticated, over_budget, lost_log_lines } = broker;
        let mut build = encoder.encode_descriptor("build_info", "1, with the version", None, MetricType::Gauge)?;
        build.encode_family(&[("version", env!("CARGO_PKG_VERSION"))])?.encode_gauge(&1_i64)?;
        for (name, help, value) in [
            ("pcsc_up", "1 while PC/SC serves, or the readers are simulated", i64::from(*is_pcsc_up)),
            ("connections", "Open connections of clients", to_i64(*connections)),
        ] {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
        }
        for (name, help, value) in [
            ("all_denials", "Requests that the policy denied, at all readers and at none", denied),
            ("unauthenticated", "Requests without a valid token", unauthenticated),
            ("over_budget", "Refused requests while their user's budget was used up", over_budget),
            ("lost_log_lines", "Lines of the log that were dropped because its reader was too slow", lost_log_lines),
        ] {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, _, u64>(value, None)?;
        }
        Ok(())
    }
}

impl Moment {
    /// The metrics as OpenMetrics text; `None` if they cannot be encoded.
    fn text(self) -> Option<String> {
        let mut registry = Registry::with_prefix("cardbroker");
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        text::encode(&mut text, &registry).ok().map(|()| text)
    }

    /// Encodes a metric of each reader, with the reader's name as its only label.
    fn each(
        &self,
        mut metric: MetricEncoder<'_>,
        encode: impl Fn(&mut MetricEncoder<'_>, &ReaderSnapshot) -> Result<(), fmt::Error>,
    ) -> Result<(), fmt::Error> {
        for Reader { name, snapshot, .. } in &self.readers {
            encode(&mut metric.encode_family(&[("reader", name.as_str())])?, snapshot)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn many_readers_have_no_histograms_and_too_many_no_metrics() {
        let snapshot = Arc::new(ReaderSnapshot {
            state_since: Instant::now(),
            holder: None,
            call: None,
            waiters: Vec::new(),
            waiter_count: 0,
            incidents: Vec::new(),
            counters: Counters::default(),
        });
        let text = |count| {
            let readers = (0..count).map(|number| Reader {
                name: format!("readers/simulated-reader-{number:04}"),
                state: "READY",
                snapshot: snapshot.clone(),
            });
            text_of(&readers.collect::<Vec<_>>(), None)
        };
        let has = |text: &str, line: &str| text.lines().any(|found| found == line);
        let few = text(100).unwrap();
        assert!(has(&few, "cardbroker_histograms_left_out 0") && few.contains("_bucket{"));
        let many = text(400).unwrap();
        assert!(has(&many, "cardbroker_histograms_left_out 1") && !many.contains("_bucket{"));
        assert!(has(&many, "cardbroker_units_total{reader=\"readers/simulated-reader-0399\"} 0"), "{many}");
        assert_eq!(text(5_000), None);
    }
}
