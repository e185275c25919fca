//! The readers that this user may see, their states, and what the rules say.

use std::path::Path;

use cardbroker_client::{
    Reader, ReaderState,
    diagnostics::{Incident, IncidentKind, PcscState},
};
use cardbroker_local::{
    config_folder::SYSTEM_CONFIGURATION,
    socket::{SYSTEM_SOCKET, local_endpoint},
    words::HERE,
};

use super::{pcsc_state, service};
use crate::doctor::{
    facts::{Answer, Facts, Found},
    finding::Finding,
};

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let readers = match &facts.readers {
        Answer::Given(readers) => readers,
        Answer::Failed(error) => {
            return vec![Finding::problem("readers", "not-listed", format!("the broker lists no readers: {error}"))];
        }
        Answer::Silent => {
            return vec![Finding::problem("readers", "silent", "the broker did not list its readers within 2 s")];
        }
        Answer::NotAsked => return Vec::new(),
    };
    if readers.is_empty() {
        return vec![none(facts)];
    }
    let mut findings: Vec<_> = readers.iter().map(|reader| state(facts, reader)).collect();
    findings.extend(readers.iter().filter_map(|reader| denied(facts, reader)));
    findings.push(policy(facts, &readers[0]));
    findings
}

/// The finding for a broker that shows no reader at all.
fn none(facts: &Facts) -> Finding {
    let check = format!("cardbroker policy check --as {}{}", principal(facts), configuration(facts));
    // An operator sees all readers that this user may diagnose, and what PC/SC says.
    let text = match pcsc_state(facts) {
        Some(PcscState::Serving) => {
            "the broker shows no reader, and PC/SC serves: none is plugged in, or you may not see it"
        }
        Some(PcscState::Unavailable) => "the broker has no reader, because PC/SC does not serve",
        _ => "the broker shows no reader: none is plugged in, or you may not see it",
    };
    Finding::problem("readers", "none", text).step("Plug a reader in.").step("cardbrokerd --simulate 2").step(check)
}

fn state(facts: &Facts, reader: &Reader) -> Finding {
    let Reader { name, display_name, .. } = reader;
    let says = |what: &str| format!("{name} ({display_name}) {what}");
    match reader.state() {
        ReaderState::Ready => Finding::ok("reader", "ready", says("has a usable card")),
        ReaderState::Empty => Finding::ok("reader", "empty", says("has no card")),
        ReaderState::Settling => Finding::ok("reader", "settling", says("has a new card, which the broker takes now")),
        ReaderState::Mute => Finding::problem("reader", "mute", says("has a card that does not answer (MUTE)"))
            .step("Take the card out and insert it again, the other way round.")
            .step("If it speaks another protocol, set preferred_protocols for this reader; the log says which."),
        ReaderState::HeldElsewhere => service::held(facts, says("is held by another program (HELD_ELSEWHERE)")),
        ReaderState::Unresponsive => {
            let text = says("has a driver whose call does not return (UNRESPONSIVE)");
            Finding::problem("reader", "unresponsive", text)
                .step("Unplug the reader and plug it in again.")
                .step(HERE.restart_pcsc)
        }
        ReaderState::Unavailable => {
            let text = says("is not served by PC/SC at the moment (UNAVAILABLE)");
            Finding::problem("reader", "unavailable", text).step(HERE.serve_pcsc)
        }
        _ => Finding::warning("reader", "unknown-state", says("is in a state that this version does not know"))
            .step("Install cardbroker in the broker's version."),
    }
}

/// The broker's denials for this user at a reader; known to operators only.
fn denied(facts: &Facts, reader: &Reader) -> Option<Finding> {
    let broker = facts.broker.given()?;
    let readers = &facts.status.given()?.readers;
    let status = readers.iter().find(|status| status.reader.as_ref().is_some_and(|known| known.name == reader.name))?;
    let is_mine = |incident: &&Incident| {
        let caller = incident.caller.as_ref();
        incident.kind() == IncidentKind::Denied && caller.is_some_and(|caller| caller.principal == broker.principal)
    };
    let incident = status.incidents.iter().find(is_mine)?;
    let text = format!("{}: {}, {} times in a row", reader.name, incident.message, incident.count);
    Some(Finding::warning("rules", "denied", text).step(question(facts, reader)))
}

/// The broker does not say what it would allow: only a request would show it, and that would use the card.
fn policy(facts: &Facts, reader: &Reader) -> Finding {
    let text = "you may see these readers; whether you may also transmit is up to the broker's rules";
    Finding::ok("rules", "sees-readers", text).step(question(facts, reader))
}

fn question(facts: &Facts, reader: &Reader) -> String {
    let id = reader.name.trim_start_matches("readers/");
    format!("cardbroker policy check --as {} --reader {id}{}", principal(facts), configuration(facts))
}

/// The option that names the configuration of the broker, where it is not this user's own.
fn configuration(facts: &Facts) -> String {
    let system = local_endpoint(Path::new(SYSTEM_SOCKET));
    match &facts.found {
        Found::At { endpoint, .. } if endpoint.to_string() == system && facts.me.uid != Some(0) => {
            format!(" --config {SYSTEM_CONFIGURATION}")
        }
        _ => String::new(),
    }
}

/// This program in a question to the policy: the holder of a token, or the user. A user of Windows is named by the SID
/// that the broker sees, which needs no quotes in a command.
fn principal(facts: &Facts) -> String {
    match facts.broker.given().and_then(|broker| broker.principal.split_once(' ')) {
        Some(("token", name)) => format!("token:{name}"),
        Some(("user", sid)) if sid.starts_with("S-") => format!("sid:{sid}"),
        _ => facts.me.principal(),
    }
}
