//! The broker's own block of the state.

use cardbroker_client::diagnostics::{self, BrokerStatus, Listener, PcscState};

use crate::{
    clock::{Clock, rough},
    layout::{Colour, Paint, headline, row},
    words::{count, pcsc_state, plain, spoken},
};

/// How much of the configuration's digest is shown: enough to compare by eye.
const DIGEST: usize = 12;

pub(super) fn text(broker: &BrokerStatus, endpoint: &str, clock: &Clock, paint: Paint) -> String {
    let head = format!("cardbrokerd {} at {}", plain(&broker.version), plain(endpoint));
    let mut text = headline("●", Some(colour(broker)), paint, &head);
    text += &row("Running", &running(broker, clock));
    text += &row("Config", &config(broker));
    if let Some(reload) = &broker.last_reload {
        let time = diagnostics::time(reload.end_time).map_or("unknown".to_owned(), |time| clock.local(time));
        let outcome = match &*reload.problem {
            "" => "done".to_owned(),
            problem => format!("refused: {}", plain(problem)),
        };
        text += &row("Reload", &format!("{time}, {outcome}"));
    }
    for (index, listener) in broker.listeners.iter().enumerate() {
        text += &row(if index == 0 { "Listens" } else { "" }, &listens(broker, listener));
    }
    text += &row("PC/SC", &pcsc(broker, clock));
    text += &row("Log", &log(broker, clock));
    if let Some(refused) = refused(broker) {
        text += &row("Refused", &refused);
    }
    text
}

fn colour(broker: &BrokerStatus) -> Colour {
    let is_refused = broker.last_reload.as_ref().is_some_and(|reload| !reload.problem.is_empty());
    match broker.pcsc.as_ref().map(|pcsc| pcsc.state()) {
        Some(PcscState::Unavailable) => Colour::Red,
        _ if is_refused || broker.lost_log_line_count > 0 => Colour::Yellow,
        _ => Colour::Green,
    }
}

fn running(broker: &BrokerStatus, clock: &Clock) -> String {
    let since = match diagnostics::time(broker.start_time) {
        Some(time) => format!("since {}, {}", clock.local(time), rough(clock.since(time))),
        None => "since unknown".to_owned(),
    };
    format!("{since}; process {} of {}", broker.process_id, plain(&broker.user))
}

fn config(broker: &BrokerStatus) -> String {
    if broker.config_file.is_empty() {
        return "no file: the built-in defaults".to_owned();
    }
    let digest: String = plain(&broker.config_digest).chars().take(DIGEST).collect();
    format!("{}, SHA-256 {digest}…", plain(&broker.config_file))
}

fn listens(broker: &BrokerStatus, listener: &Listener) -> String {
    let here = broker.connections.iter().filter(|counted| counted.address == listener.address);
    let by_user: Vec<_> = here.map(|counted| format!("{} of {}", counted.count, plain(&counted.principal))).collect();
    let by_user = if by_user.is_empty() { String::new() } else { format!(" ({})", by_user.join(", ")) };
    let connections = count(listener.connection_count.into(), "connection");
    format!("{}, {connections}{by_user}", plain(&listener.address))
}

fn pcsc(broker: &BrokerStatus, clock: &Clock) -> String {
    let Some(pcsc) = &broker.pcsc else { return "unknown".to_owned() };
    let since = diagnostics::time(pcsc.state_time).map(|time| format!(" since {}", clock.local(time)));
    let problem = if pcsc.problem.is_empty() { String::new() } else { format!(": {}", plain(&pcsc.problem)) };
    format!("{}{}{problem}", spoken(&pcsc_state(pcsc.state)), since.unwrap_or_default())
}

fn log(broker: &BrokerStatus, clock: &Clock) -> String {
    let until = diagnostics::time(broker.log_filter_revert_time)
        .map(|time| format!(" until {}, in {}", clock.local(time), rough(clock.until(time))));
    let lost = match broker.lost_log_line_count {
        0 => String::new(),
        lost => format!("; {} lost", count(lost, "line")),
    };
    format!("{}{}{lost}", plain(&broker.log_filter), until.unwrap_or_default())
}

/// The refused requests of this run; `None` if there were none.
fn refused(broker: &BrokerStatus) -> Option<String> {
    let counts = [
        (broker.denied_count, "denied by the policy"),
        (broker.unauthenticated_count, "without a valid token"),
        (broker.over_budget_count, "over their user's budget"),
    ];
    let told: Vec<_> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, why)| format!("{count} {why}")).collect();
    (!told.is_empty()).then(|| told.join(", "))
}
