//! Tables of the documents that list what the sources define: the metrics, and the events of the audit trail.

use std::collections::BTreeSet;

use cardbroker_checks::markdown::in_backticks;

use super::sources;

/// The names in the first column of the tables below a heading of the second level.
fn listed(document: &str, heading: &str) -> BTreeSet<String> {
    let text = sources::text(document);
    let lines = text.lines().skip_while(|line| *line != format!("## {heading}")).skip(1);
    let section = lines.take_while(|line| !line.starts_with("## "));
    let cells = section.filter_map(|line| line.strip_prefix('|')?.split('|').next());
    cells.flat_map(in_backticks).map(str::to_owned).collect()
}

/// The names in quotation marks behind any of these beginnings, in a source without its tests.
fn quoted<'a>(source: &'a str, beginnings: &'a [&'a str]) -> impl Iterator<Item = String> + 'a {
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    beginnings.iter().flat_map(move |beginning| {
        let ends = source.split(beginning).skip(1).filter_map(|rest| rest.split('"').next());
        ends.filter(|name| !name.is_empty() && name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'))
            .map(str::to_owned)
    })
}

#[test]
fn every_metric_is_in_the_documents() {
    let source = sources::text("server/grpc/diagnostics/metrics.rs");
    let beginnings = ["\n    (\"", "\n    (\n        \"", "\n            (\"", "encode_descriptor(\""];
    let defined: BTreeSet<_> = quoted(&source, &beginnings).collect();
    assert!(defined.len() > 20, "{defined:?}");
    assert_eq!(listed("docs/diagnostics.md", "Metrics"), defined);
}

#[test]
fn every_event_of_the_audit_trail_is_in_the_documents() {
    let beginnings = ["event = \"", "EVENT: &'static str = \"", "data_trace(\"", "=> (\""];
    let mut defined = BTreeSet::new();
    for file in ["mod", "trail", "kinds"] {
        let source = sources::text(&format!("server/policy/audit/{file}.rs"));
        defined.extend(quoted(&source, &beginnings));
    }
    // The kind of the three records of sessions.
    assert!(defined.remove("session") && defined.len() > 10, "{defined:?}");
    let mut listed = listed("docs/security.md", "The audit trail");
    assert!(listed.remove("event"), "the head of the column");
    assert_eq!(listed, defined);
}
