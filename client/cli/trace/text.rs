//! The lines of a trace for people.

use std::time::Duration;

use cardbroker_client::{hex, status_word};

use super::record::{At, Exchange, Line};
use crate::{
    apdu::{application, exchange, instruction},
    clock::{Clock, rough},
    json::Caller,
    words::{count, plain, spoken},
};

/// The width of the time, and of what separates it from the rest.
const TIME: usize = 14;

/// Renders one line of a record; several lines of text if it has data. `None` for an event that this program does not
/// know.
pub(super) fn text(line: &Line, clock: &Clock) -> Option<String> {
    let (at, told) = match line {
        Line::Unknown => return None,
        Line::TraceBegan { time: Some(time), epoch, .. } => {
            let time = humantime::parse_rfc3339(time).map_or("unknown".to_owned(), |time| clock.local(time));
            return Some(format!("-- trace since {time}, run {} of the broker --\n", plain(epoch)));
        }
        Line::TraceBegan { .. } => return Some(String::new()),
        Line::Missed { missed_count } => {
            let count = count(i64::try_from(*missed_count).unwrap_or(i64::MAX), "event");
            return Some(format!("-- {count} missing here: this program was too slow --\n"));
        }
        Line::CardPresent { time, reader, insertion_id, atr, protocol } => {
            let card = card(atr, protocol.as_deref(), insertion_id);
            return Some(format!("{}card present, {card}\n", head_of(time.as_deref(), false, reader, None, clock)));
        }
        Line::TurnBegan { at, is_session: true, waited_ms, .. } => {
            (at, format!("session begins, waited for {}", duration(*waited_ms)))
        }
        Line::TurnBegan { at, command_count, waited_ms, .. } => {
            let commands = count((*command_count).into(), "command");
            (at, format!("unit of {commands} begins, waited for {}", duration(*waited_ms)))
        }
        Line::TurnEnded { at, reason, is_abandoned, held_ms } => {
            let abandoned = if *is_abandoned { ", its caller is gone" } else { "" };
            let reason = reason.as_ref().map(|reason| format!(", {}", plain(reason))).unwrap_or_default();
            (at, format!("turn ends after {}{reason}{abandoned}", duration(*held_ms)))
        }
        Line::Command { at, command } => (at, command_text(command)),
        Line::Reset { at, is_cold, failed, duration_ms } => {
            let kind = if *is_cold { "cold" } else { "warm" };
            let failure = if *failed { ", the card did not answer" } else { "" };
            (at, format!("{kind} reset of {}{failure}", duration(*duration_ms)))
        }
        Line::CardInserted { at, atr, protocol, insertion_id } => {
            (at, format!("card inserted, {}", card(atr, protocol.as_deref(), insertion_id)))
        }
        Line::CardRemoved { at } => (at, "card removed".to_owned()),
        Line::Denial { at, operation, rule } => {
            let rule =
                rule.as_ref().map_or("no rule allows it".to_owned(), |rule| format!("by rule \"{}\"", plain(rule)));
            (at, format!("denied: {}, {rule}", plain(operation)))
        }
        Line::NotServed { at, reason } => {
            (at, format!("not served: {}", reason.as_deref().map_or("cancelled".to_owned(), plain)))
        }
    };
    Some(format!("{}{told}\n", head(at, clock)))
}

/// A card and its insertion.
fn card(atr: &str, protocol: Option<&str>, insertion_id: &str) -> String {
    let protocol = protocol.map(|protocol| format!(" by {}", plain(protocol))).unwrap_or_default();
    format!("ATR {}{protocol}, insertion {}", plain(atr), plain(insertion_id))
}

/// The beginning of the line of an event.
fn head(at: &At, clock: &Clock) -> String {
    head_of(at.time.as_deref(), at.is_recorded, &at.reader, at.caller.as_ref(), clock)
}

/// The beginning of each line: time, reader and caller.
fn head_of(time: Option<&str>, is_recorded: bool, reader: &str, who: Option<&Caller>, clock: &Clock) -> String {
    let time = time.and_then(|time| humantime::parse_rfc3339(time).ok());
    let time = time.map_or("unknown".to_owned(), |time| clock.local_millis(time));
    let reader = plain(reader.trim_start_matches("readers/"));
    let who = who.map(|who| format!("  {}", caller(who))).unwrap_or_default();
    let past = if is_recorded { "*" } else { " " };
    format!("{time}{past} {reader}{who}  ")
}

/// Who, in few columns: `4711 anna`, `token build-7`.
fn caller(caller: &Caller) -> String {
    let who = plain(caller.user_name.as_deref().unwrap_or(&caller.principal));
    match caller.process_id {
        Some(id) => format!("{id} {who}"),
        None => who,
    }
}

fn command_text(command: &Exchange) -> String {
    let header = command.header.as_deref().map_or("[unreadable]".to_owned(), grouped);
    let number = format!("{}{}", command.index, if command.is_continuation { "+" } else { "" });
    let application = command.application.as_ref().map(|id| format!(" AID {}{}", plain(id), application(id)));
    let application = application.unwrap_or_default();
    let expected = command.expected_length.map(|length| format!(" Le {length}")).unwrap_or_default();
    let masked = if command.is_masked { " [masked]" } else { "" };
    let answer = match &command.status_word {
        Some(word) if !command.failed => plain(word) + &meaning(word),
        _ => "no answer".to_owned(),
    };
    let name = command.header.as_deref().and_then(instruction).map(str::to_owned);
    let name = name.unwrap_or_else(|| spoken(&plain(&command.command_class)));
    let took = duration(command.duration_ms);
    let mut told = format!("#{number} {name} {header}{application}{expected}{masked} -> {answer}, {took}");
    for (sign, bytes) in [('>', &command.command), ('<', &command.response)] {
        if let Some(bytes) = bytes {
            told += &format!("\n{:TIME$}{sign} {}", "", plain(bytes));
        }
    }
    told + &command.response.as_deref().map(response).unwrap_or_default()
}

/// The name of a command with this header in hexadecimal.
fn instruction(header: &str) -> Option<&'static str> {
    let header = hex::parse(header).ok()?;
    instruction::name(*header.first()?, *header.get(1)?)
}

/// The name of an application, in parentheses.
fn application(aid: &str) -> String {
    let aid = hex::parse(aid).ok();
    let known = aid.and_then(|aid| application::of(&aid));
    known.map(|application| format!(" ({})", application.words)).unwrap_or_default()
}

/// The meaning of a status word, in parentheses.
fn meaning(word: &str) -> String {
    let word = u16::from_str_radix(word, 16).ok();
    let known = word.filter(|word| *word != 0x9000).and_then(status_word::meaning);
    known.map(|meaning| format!(" ({meaning})")).unwrap_or_default()
}

/// The data of a response as a tree or a dump, after its line.
fn response(bytes: &str) -> String {
    let Ok(bytes) = hex::parse(bytes) else { return String::new() };
    let data = bytes.len().checked_sub(2).map(|length| &bytes[..length]).unwrap_or_default();
    exchange::content(data).lines().map(|line| format!("\n  {line}")).collect()
}

/// `00A40400` as `00 A4 04 00`.
fn grouped(hex: &str) -> String {
    let pairs: Vec<String> =
        plain(hex).chars().collect::<Vec<_>>().chunks(2).map(|pair| pair.iter().collect()).collect();
    pairs.join(" ")
}

fn duration(milliseconds: f64) -> String {
    match Duration::try_from_secs_f64(milliseconds / 1e3) {
        Ok(duration) if duration < Duration::from_millis(10) => format!("{milliseconds:.1} ms"),
        Ok(duration) => rough(duration),
        Err(_) => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::sample;

    fn told(lines: impl IntoIterator<Item = Line>) -> String {
        let clock = Clock::utc(SystemTime::UNIX_EPOCH);
        lines.into_iter().filter_map(|line| text(&line, &clock)).collect()
    }

    #[test]
    fn an_event_is_a_line_and_its_data_two_more() {
        let expected = "\
14:04:10.001* desk  card inserted, ATR 3B80 by T1, insertion e1-5
14:04:10.002* desk  4711 anna  unit of 2 commands begins, waited for 3.0 ms
14:04:10.003  desk  4711 anna  #1 SELECT 00 A4 04 00 AID A000000308 (PIV) Le 256 -> 6110 (done, \
16 more bytes are waiting), 12 ms
              > 00A4040005A00000030800
              < 6110
14:04:10.004  desk  4711 anna  #1+ GET RESPONSE 00 C0 00 00 Le 16 [masked] -> no answer, 3.0 ms
14:04:10.005  desk  4711 anna  #2 VERIFY 00 20 00 81 [masked] -> 63Cx, 50 ms
14:04:10.006  desk  4711 anna  turn ends after 80 ms, LEASE_REVOKED
14:04:10.007  desk  cold reset of 150 ms
14:04:10.008  desk  token build-7  denied: transmit, by rule \"night\"
14:04:10.009  desk  card removed
14:04:10.010  desk  4711 anna  not served: HELD_ELSEWHERE
";
        assert_eq!(told(sample::events().iter().map(Line::from)), expected);
    }

    #[test]
    fn a_file_cannot_command_the_terminal() {
        let mut events = sample::events();
        events[0].reader = "readers/\x1b[2J".into();
        events[7].caller.as_mut().unwrap().principal = "x\ny".into();
        let told = told(events.iter().map(Line::from));
        assert!(!told.contains('\x1b') && told.contains("desk  x\\ny  denied"), "{told}");
    }

    #[test]
    fn a_card_that_is_present_is_shown() {
        let line = Line::CardPresent {
            time: Some("2026-11-27T14:04:10.000000Z".into()),
            reader: "readers/desk".into(),
            insertion_id: "e1-4".into(),
            atr: "3B80".into(),
            protocol: Some("T1".into()),
        };
        assert_eq!(told([line]), "14:04:10.000  desk  card present, ATR 3B80 by T1, insertion e1-4\n");
    }

    #[test]
    fn a_gap_is_shown_and_an_unknown_event_skipped() {
        let lines = [Line::Missed { missed_count: 1 }, Line::Unknown];
        assert_eq!(told(lines), "-- 1 event missing here: this program was too slow --\n");
    }
}
