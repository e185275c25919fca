//! Hints for words of other programs: the command that does here what they do there.

use clap::{
    builder::StyledStr,
    error::{ContextKind, ContextValue, Error, ErrorKind},
};

/// Words that people know from other programs, and what to type here instead.
const WORDS: &[(&[&str], &str)] = &[
    (&["list", "ls", "list-readers", "reader"], "cardbroker readers"),
    (&["scan", "pcsc_scan", "monitor", "events"], "cardbroker watch"),
    (&["apdu", "send", "send-apdu", "scriptor", "raw", "exchange"], "cardbroker transmit READER APDU..."),
    (&["shell", "open", "connect", "interactive", "explorer", "console"], "cardbroker session READER"),
    (&["atr", "info", "name", "identify", "show"], "cardbroker card READER"),
    (&["select"], "cardbroker transmit READER 'select NAME'"),
    (&["verify", "pin"], "cardbroker session READER, and there: pin"),
    (&["script", "run"], "cardbroker session READER < FILE"),
    (&["ps", "who", "locks", "users"], "cardbroker status"),
    (&["logs", "audit"], "cardbroker trace"),
    (&["unlock", "kill", "steal", "disconnect"], "cardbroker release READER"),
    (&["ping", "version", "about"], "cardbroker broker"),
    (&["check", "diagnose", "health"], "cardbroker doctor"),
    (&["start", "daemon", "serve", "server"], "cardbrokerd"),
    (&["stats", "prometheus"], "cardbroker metrics"),
];

/// Adds the hint to an error about an unknown command, in the place of clap's own.
pub(crate) fn add(mut error: Error) -> Error {
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
        && let Some(hint) = hint(word)
    {
        error.remove(ContextKind::SuggestedSubcommand);
        let hint = StyledStr::from(format!("type: {hint}"));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint]));
    }
    error
}

fn hint(word: &str) -> Option<&'static str> {
    WORDS.iter().find(|(words, _)| words.contains(&word)).map(|(_, hint)| *hint)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::Arguments;

    #[test]
    fn a_word_of_another_program_has_a_hint() {
        let told = |word: &str| {
            let error = Arguments::try_parse_from(["cardbroker", word]).err().map(add);
            error.map(|error| (error.exit_code(), error.to_string())).unwrap_or_default()
        };
        let (code, message) = told("list");
        assert!(code == 2 && message.contains("tip: type: cardbroker readers"), "{message}");
        let (_, message) = told("sesion");
        assert!(message.contains("similar subcommand"), "{message}");
    }

    #[test]
    fn no_hint_hides_a_command() {
        for (words, _) in WORDS {
            for word in *words {
                let error = Arguments::try_parse_from(["cardbroker", word]).err();
                let kinds = [ErrorKind::InvalidSubcommand, ErrorKind::UnknownArgument];
                assert!(error.is_some_and(|error| kinds.contains(&error.kind())), "{word}");
            }
        }
    }
}
