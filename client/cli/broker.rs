//! `cardbroker broker`: the broker's version and limits, and its view of the caller.

use cardbroker_client::{Broker, BrokerLimits, Caller, Client};
use humantime::format_duration;
use serde_json::{Value, json};

use super::{
    Failure, Screen,
    clock::{Clock, rfc3339_seconds},
    json, printable,
};

pub(crate) async fn run(client: &Client, json: bool, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let broker = client.broker().await?;
    if json {
        json::write_line(screen.out, &object(&broker))?;
    } else {
        let port = client.auto_port().await.map(|port| format!(" (https://{port})")).unwrap_or_default();
        write!(screen.out, "{}", text(&broker, &format!("{}{port}", client.endpoint()), &Clock::at(None)))?;
    }
    Ok(())
}

fn text(broker: &Broker, endpoint: &str, clock: &Clock) -> String {
    let Broker { version, epoch, capabilities, limits, caller, .. } = broker;
    let since = broker.start_time.map_or_else(|| "unknown".to_owned(), |time| clock.local(time));
    let capabilities = if capabilities.is_empty() { "none".to_owned() } else { capabilities.join(", ") };
    let rows = [
        ("Broker", format!("cardbrokerd {version} at {endpoint}")),
        ("Running since", since),
        ("Epoch", epoch.clone()),
        ("Capabilities", capabilities),
        ("You are", format!("{}, {}", caller.principal, connection(caller))),
        ("Isolation group", group(caller)),
        ("Message", format!("at most {} bytes", limits.max_message_bytes)),
        ("Unit", unit(limits)),
        ("Session", session(limits)),
        ("Visit", visit(limits)),
        ("Waiting requests", waiting(limits)),
        ("Kept outcomes", outcomes(limits)),
    ];
    let row = |(name, value): (&str, String)| format!("{name:16}  {}\n", printable(&value));
    rows.into_iter().map(row).collect()
}

fn since(broker: &Broker) -> Option<String> {
    rfc3339_seconds(broker.start_time?)
}

fn connection(caller: &Caller) -> String {
    let process = caller.process_id.map(|id| format!("process {id}, ")).unwrap_or_default();
    let turns = if caller.is_connection { ", with turns and a group of its own" } else { "" };
    format!("{process}connection {}{turns}", caller.connection)
}

fn group(caller: &Caller) -> String {
    match caller.group {
        0 => "none: each call is a group of its own".to_owned(),
        group => format!("number {group}"),
    }
}

fn unit(limits: &BrokerLimits) -> String {
    let contended = format_duration(limits.max_contended_unit);
    format!("at most {} commands; at most {contended} while other groups wait", limits.max_commands)
}

fn visit(limits: &BrokerLimits) -> String {
    let quantum = limits.turn_quantum.map(format_duration);
    quantum.map_or("as long as 1.5 resets take".to_owned(), |quantum| format!("at most {quantum}"))
}

fn session(limits: &BrokerLimits) -> String {
    let lease = format_duration(limits.max_contended_lease);
    format!("at most {} unanswered messages; at most {lease} while other groups wait", limits.max_session_messages)
}

fn waiting(limits: &BrokerLimits) -> String {
    format!(
        "at most {} of yours and {} of all callers at one reader",
        limits.max_waiting_per_caller, limits.max_waiting_per_reader
    )
}

fn outcomes(limits: &BrokerLimits) -> String {
    format!("at most {} of yours, for {}", limits.max_outcomes_per_user, format_duration(limits.outcome_lifetime))
}

fn object(broker: &Broker) -> Value {
    let Broker { version, epoch, capabilities, limits, caller, .. } = broker;
    json!({
        "version": version,
        "epoch": epoch,
        "start_time": since(broker),
        "capabilities": capabilities,
        "limits": {
            "max_message_bytes": limits.max_message_bytes,
            "max_commands": limits.max_commands,
            "max_session_messages": limits.max_session_messages,
            "max_waiting_per_caller": limits.max_waiting_per_caller,
            "max_waiting_per_reader": limits.max_waiting_per_reader,
            "max_outcomes_per_user": limits.max_outcomes_per_user,
            "outcome_lifetime_ms": json::whole_milliseconds(limits.outcome_lifetime),
            "max_contended_lease_ms": json::whole_milliseconds(limits.max_contended_lease),
            "turn_quantum_ms": limits.turn_quantum.map(json::whole_milliseconds),
            "max_contended_unit_ms": json::whole_milliseconds(limits.max_contended_unit),
        },
        "caller": {
            "principal": caller.principal,
            "process_id": caller.process_id,
            "connection": caller.connection,
            "is_connection": caller.is_connection,
            "group": caller.group,
        },
    })
}
