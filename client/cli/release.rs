//! `cardbroker release`: ends the turn of the program that holds a card.

use std::io::{self, IsTerminal};

use cardbroker_client::{
    Client, Error, ErrorReason,
    diagnostics::{self, Holder, ReleaseOutcome, Released},
};
use clap::Args;
use serde_json::json;

use super::{
    Failure, Screen, ask,
    clock::Clock,
    completion,
    json::write_line,
    layout::fill,
    select::find,
    status::{self, driver_call, turn},
    words::{self, plain},
};

/// The permission that ends a turn.
const NEEDED: &str = "release";

/// End the turn of the program that holds a card: its session or unit ends between two commands; for operators.
///
/// Names the holder and asks first. Only the turn that was shown is ended: if another one has begun by then, nothing
/// happens. The released program learns that an operator has ended its turn, and its next request goes behind all that
/// wait. The card is reset if anything is left in it. A call of the driver that runs is not interrupted: then the turn
/// ends when the call returns.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct ReleaseArguments {
    /// The reader: its id, its name, its display name, or a part of these that only one reader has.
    #[arg(add = completion::readers())]
    reader: String,
    /// Only if this process, in the broker's numbers, has the turn.
    #[arg(long, value_name = "PID")]
    if_holder: Option<i32>,
    /// Why, for the audit trail and for other operators; at most 200 printable characters.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, value_parser = reason)]
    reason: String,
    /// End the turn without asking on the terminal first.
    #[arg(long)]
    yes: bool,
}

const HELP: &str = "\
Examples:
  cardbroker release yubikey
  cardbroker release yubikey --if-holder 4711 --reason 'hangs since noon' --yes

Needs the permissions release, and diagnose to see the holder. A rule must grant them by name: `all` does not include \
them. Without rules the user that runs the broker and root have them. `denied by rule ...` means that this rule \
decides, or that none allows it: cardbroker policy check --help.

Ends with code 1 if nobody has the turn, another process has the turn, or that turn has ended meanwhile.";

fn reason(text: &str) -> Result<String, &'static str> {
    match text.chars().count() <= 200 && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err("must be at most 200 printable characters"),
    }
}

pub(crate) async fn run(
    client: &Client,
    arguments: ReleaseArguments,
    json: bool,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let asks = !arguments.yes;
    if asks && !(io::stdin().is_terminal() && io::stderr().is_terminal() && !json) {
        let how = if json { "with --json nobody is asked" } else { "without a terminal nobody can be asked" };
        return Err(Failure::Usage(format!("{how}: give --yes to end the turn all the same")));
    }
    let reader = find(client, &arguments.reader).await?.name;
    let operator = client.diagnostics();
    let seen = operator.status().at(&reader).get().await;
    let seen = seen.map_err(|error| Failure::operator(error, status::NEEDED))?;
    let holder = seen.readers.first().and_then(|reader| reader.holder.as_ref());
    let holder = holder.ok_or_else(|| Failure::Undone(format!("nobody has the turn at {reader}")))?;
    let clock = Clock::at(diagnostics::time(seen.now));
    if !json {
        write!(screen.err, "{}", shown(&reader, holder, &clock))?;
    }
    check(holder, arguments.if_holder)?;
    if asks && !ask::is_confirmed("End this turn?", screen).await? {
        return Err(Failure::Undone("nothing was released".to_owned()));
    }
    let released = operator.release(&reader, &holder.lease).reason(&arguments.reason).send().await;
    let released = released.map_err(meanwhile)?;
    tell(&reader, holder, &released, json, screen)
}

/// The holder, as it is shown before the question.
fn shown(reader: &str, holder: &Holder, clock: &Clock) -> String {
    let who = words::caller(holder.caller.as_ref());
    fill("", 2, &format!("{} is held by {who}: {}", plain(reader), turn(holder, clock)))
}

/// # Errors
/// [`Failure::Undone`] if another process than the wanted one has the turn.
fn check(holder: &Holder, wanted: Option<i32>) -> Result<(), Failure> {
    let process = holder.caller.as_ref().and_then(|caller| caller.process_id);
    match wanted {
        Some(wanted) if process != Some(wanted) => {
            Err(Failure::Undone(format!("process {wanted} does not have the turn; nothing was released")))
        }
        _ => Ok(()),
    }
}

fn meanwhile(error: Error) -> Failure {
    match error.reason() {
        Some(ErrorReason::LeaseEnded) => {
            Failure::Undone("that turn has ended meanwhile; nothing was released".to_owned())
        }
        _ => Failure::operator(error, NEEDED),
    }
}

fn tell(
    reader: &str,
    holder: &Holder,
    released: &Released,
    json: bool,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    if json {
        let object = json!({
            "reader": reader,
            "holder": status::json::holder(holder),
            "outcome": words::release_outcome(released.outcome),
            "driver_call": released.driver_call.as_ref().map(status::json::driver_call),
        });
        return Ok(write_line(screen.out, &object)?);
    }
    let clock = Clock::at(None);
    let told = match (released.outcome(), &released.driver_call) {
        (ReleaseOutcome::Pending, Some(call)) => {
            format!("pending: the driver is {}; the turn ends when the call returns", driver_call(call, &clock))
        }
        _ => words::spoken(&words::release_outcome(released.outcome)),
    };
    Ok(write!(screen.out, "{}", fill("", 0, &told))?)
}

#[cfg(test)]
mod tests {
    use std::{time::Duration, time::SystemTime};

    use super::*;
    use crate::sample;

    #[test]
    fn the_holder_is_named_before_the_question() {
        let clock = Clock::utc(SystemTime::UNIX_EPOCH + Duration::from_secs(sample::NOW as u64));
        let expected = "\
readers/desk is held by process 4711 (says \"scdaemon\") of user 1000 (anna):
  session for 2 min, idle for 10 s, 14 commands, last: verify, refused
";
        assert_eq!(shown("readers/desk", &sample::holder(), &clock), expected);
    }

    #[test]
    fn only_the_wanted_process_is_released() {
        assert!(check(&sample::holder(), None).is_ok() && check(&sample::holder(), Some(4711)).is_ok());
        assert!(matches!(check(&sample::holder(), Some(4712)), Err(Failure::Undone(_))));
        let remote = Holder { caller: Some(sample::token()), ..sample::holder() };
        assert!(check(&remote, Some(4711)).is_err());
    }

    #[test]
    fn a_reason_is_short_and_printable() {
        assert!(reason(&"é".repeat(200)).is_ok());
        assert!(reason(&"x".repeat(201)).is_err() && reason("a\nb").is_err());
    }
}
