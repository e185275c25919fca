//! The checks of `cardbroker doctor`: facts in, findings out. Nothing is read here.

mod place;
mod readers;
mod service;
#[cfg(test)]
mod tests;
mod windows;

use cardbroker_client::{Endpoint, Error, ErrorReason, diagnostics::PcscState};

use super::{
    facts::{Answer, BrokerFacts, Facts, Found},
    finding::Finding,
};

/// Makes all checks, in the order in which a person would.
pub(crate) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = place::judge(facts);
    findings.extend(answers(facts));
    findings.extend(version(facts));
    findings.extend(caller(facts));
    findings.extend(diagnosis(facts));
    findings.extend(service::judge(facts));
    findings.extend(windows::judge(facts));
    findings.extend(readers::judge(facts));
    findings
}

/// Whether a broker can be asked, and answers.
fn answers(facts: &Facts) -> Option<Finding> {
    match (&facts.broker, &facts.found) {
        (Answer::Given(broker), Found::At { endpoint, .. }) => {
            let text = format!("cardbrokerd {} answers at {endpoint}", broker.version);
            Some(Finding::ok("broker", "answers", text))
        }
        (Answer::Failed(error), Found::At { endpoint, .. }) => Some(refused(error, endpoint)),
        (Answer::Silent, Found::At { endpoint, .. }) => {
            let text = format!("a process accepts connections at {endpoint}, but did not answer within 2 s");
            let silent = Finding::problem("broker", "silent", text);
            Some(silent.step("See the broker's log. If it shows nothing new, restart the broker."))
        }
        _ => None,
    }
}

/// The finding for a broker that refuses the first question.
fn refused(error: &Error, endpoint: &Endpoint) -> Finding {
    match error.reason() {
        Some(ErrorReason::Unauthenticated) => {
            place::with_token(Finding::problem("token", "unauthenticated", error.to_string()))
                .step("If the token is new, let the broker read its tokens again: cardbroker reload")
        }
        Some(_) => Finding::problem("broker", "refuses", format!("{endpoint} refuses: {error}")),
        None => Finding::problem("broker", "no-broker", format!("{endpoint} does not answer as a broker: {error}"))
            .step("Check that this is the endpoint of cardbrokerd, and see the broker's log."),
    }
}

fn version(facts: &Facts) -> Option<Finding> {
    let broker = &facts.broker.given()?.version;
    let own = facts.version;
    Some(match minor(broker) == minor(own) {
        true => Finding::ok("version", "same", format!("cardbroker {own}, cardbrokerd {broker}")),
        false => {
            let text = format!("cardbroker is {own} and cardbrokerd {broker}: one may lack what the other can do");
            let differs = Finding::warning("version", "differs", text);
            differs.step("Install both in the same version, and restart the broker.")
        }
    })
}

/// The major and the minor number of a version.
fn minor(version: &str) -> Option<(&str, &str)> {
    let mut parts = version.split(['.', '-', '+']);
    Some((parts.next()?, parts.next()?))
}

fn caller(facts: &Facts) -> Option<Finding> {
    let BrokerFacts { principal, process_id, is_connection, .. } = facts.broker.given()?;
    let process = process_id.map(|id| format!(", process {id}")).unwrap_or_default();
    let ways = if *is_connection { "; each connection has turns and a group of its own" } else { "" };
    Some(Finding::ok("caller", "known", format!("the broker sees you as {principal}{process}{ways}")))
}

/// The broker's answers about itself, to an operator.
fn diagnosis(facts: &Facts) -> Vec<Finding> {
    let status = match &facts.status {
        Answer::Given(status) => status,
        Answer::Failed(error) if error.reason() == Some(ErrorReason::Denied) => {
            let text = "you may not see the broker from inside (permission diagnose): some checks are left out";
            let left_out = Finding::ok("diagnosis", "not-allowed", text);
            return vec![left_out.step("Run it again as root or as the broker's user for the rest.")];
        }
        Answer::Failed(error) => {
            return vec![Finding::warning("diagnosis", "failed", format!("the broker gives no status: {error}"))];
        }
        Answer::Silent => {
            return vec![Finding::warning("diagnosis", "silent", "the broker did not give its status within 2 s")];
        }
        Answer::NotAsked => return Vec::new(),
    };
    let Some(broker) = &status.broker else { return Vec::new() };
    let mut findings = Vec::new();
    if let Some(reload) = broker.last_reload.as_ref().filter(|reload| !reload.problem.is_empty()) {
        let text = format!("the last reload was refused, the configuration before it is in force: {}", reload.problem);
        let refused = Finding::problem("configuration", "reload-refused", text);
        findings.push(refused.step("cardbrokerd --check-config"));
    }
    if broker.lost_log_line_count > 0 {
        let text = format!("{} lines of the log were lost: its reader is too slow", broker.lost_log_line_count);
        findings.push(Finding::warning("log", "lines-lost", text).step("See that the log's disk is not full."));
    }
    if broker.over_budget_count > 0 {
        let text = format!("{} requests were refused because of too many refused ones", broker.over_budget_count);
        let flood = Finding::warning("requests", "over-budget", text);
        findings.push(flood.step("cardbrokerd --log 'info,cardbroker::audit=info'"));
    }
    findings
}

/// The state of PC/SC as the broker sees it; `None` if it does not tell.
fn pcsc_state(facts: &Facts) -> Option<PcscState> {
    let pcsc = facts.status.given()?.broker.as_ref()?.pcsc.as_ref()?;
    Some(pcsc.state())
}
