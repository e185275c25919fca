//! Words for what operators see: callers, and the names of the contract's values.

use cardbroker_client::{
    ErrorReason,
    diagnostics::{
        Caller, CommandClass, CommandEnd, IncidentKind, LastCommand, PcscState, ReleaseOutcome, ReloadPart, ReloadState,
    },
};

/// The longest name of a program that is shown, in characters.
const MAX_PROGRAM: usize = 40;

/// The name of each value in the contract without its prefix, or the number of an unknown one.
macro_rules! names {
    ($($function:ident($enum:ty, $prefix:literal)),* $(,)?) => {
        $(pub(crate) fn $function(number: i32) -> String {
            match <$enum>::try_from(number) {
                Ok(known) => known.as_str_name().trim_start_matches($prefix).to_owned(),
                Err(_) => number.to_string(),
            }
        })*
    };
}

names! {
    command_class(CommandClass, "COMMAND_CLASS_"),
    command_end(CommandEnd, "COMMAND_END_"),
    incident_kind(IncidentKind, "INCIDENT_KIND_"),
    pcsc_state(PcscState, "PCSC_STATE_"),
    release_outcome(ReleaseOutcome, "RELEASE_OUTCOME_"),
    reload_part(ReloadPart, "RELOAD_PART_"),
    reload_state(ReloadState, "RELOAD_STATE_"),
}

/// The short name of a reason, or the number of an unknown one; `None` if there is none.
pub(crate) fn reason(number: i32) -> Option<String> {
    match ErrorReason::try_from(number) {
        Ok(ErrorReason::Unspecified) => None,
        Ok(reason) => Some(reason.short_name().to_owned()),
        Err(_) => Some(number.to_string()),
    }
}

/// The kind of a turn, as one word.
pub(crate) fn turn_kind(is_session: bool) -> &'static str {
    if is_session { "session" } else { "unit" }
}

/// A name of the contract as words of a sentence: `held elsewhere`.
pub(crate) fn spoken(name: &str) -> String {
    name.to_lowercase().replace('_', " ")
}

/// A text that another program chose, without anything that a terminal would obey or that deceives the eye.
pub(crate) fn plain(text: &str) -> String {
    let visible = |letter: char| match letter {
        '"' | '\'' | '\\' => letter.to_string(),
        letter => letter.escape_debug().to_string(),
    };
    text.chars().map(visible).collect()
}

/// A text that another program chose, in quotation marks that it cannot close.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", plain(text).replace('"', "\\\""))
}

/// Who it is: `process 4711 (says "scdaemon") of user 1000 (anna)`.
pub(crate) fn caller(caller: Option<&Caller>) -> String {
    let Some(caller) = caller else { return "unknown".to_owned() };
    let name = if caller.user_name.is_empty() { String::new() } else { format!(" ({})", plain(&caller.user_name)) };
    let user = format!("{}{name}", plain(&caller.principal));
    let who = match caller.process_id {
        Some(id) => format!("process {id}{} of {user}", program(caller)),
        None => format!("{user}, connection {}", caller.connection),
    };
    if caller.via_sshd { format!("{who} via sshd") } else { who }
}

/// How the program calls itself.
fn program(caller: &Caller) -> String {
    let name = &caller.program;
    if name.is_empty() {
        return String::new();
    }
    let shown: String = name.chars().take(MAX_PROGRAM).collect();
    let rest = if shown.len() < name.len() { "…" } else { "" };
    format!(" (says {}{rest})", quoted(&shown))
}

/// The last command: `verify, refused`.
pub(crate) fn last_command(last: &LastCommand) -> String {
    let end = match last.end() {
        CommandEnd::Unspecified => "still running".to_owned(),
        _ => spoken(&command_end(last.end)),
    };
    format!("{}, {end}", spoken(&command_class(last.command_class)))
}

/// A number with its noun, which has a plural in `s`: `1 unit`, `2 units`.
pub(crate) fn count(number: i64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_cannot_leave_its_quotation_marks() {
        let mut anna = Caller { principal: "user 1000".into(), process_id: Some(7), ..Caller::default() };
        anna.program = "x\") of user 0 \u{202e}\u{1b}[2J\\n".into();
        let expected = "process 7 (says \"x\\\") of user 0 \\u{202e}\\u{1b}[2J\\n\") of user 1000";
        assert_eq!(caller(Some(&anna)), expected);
        anna.program = "é".repeat(50);
        assert_eq!(caller(Some(&anna)), format!("process 7 (says \"{}\"…) of user 1000", "é".repeat(40)));
    }

    #[test]
    fn a_caller_without_a_process_is_a_connection() {
        let ci = Caller { principal: "token ci".into(), connection: 9, via_sshd: true, ..Caller::default() };
        assert_eq!(caller(Some(&ci)), "token ci, connection 9 via sshd");
        assert_eq!(caller(None), "unknown");
    }

    #[test]
    fn a_value_of_a_newer_broker_is_its_number() {
        assert_eq!((command_class(3), command_class(99)), ("VERIFY".to_owned(), "99".to_owned()));
        assert_eq!((reason(0), reason(999)), (None, Some("999".to_owned())));
        let last = LastCommand { command_class: 4, end: 0 };
        assert_eq!(last_command(&last), "sign, still running");
    }
}
