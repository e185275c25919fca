//! The line editor of the prompt: completion of words, a history without secrets, and lines that are not shown.

use std::{borrow::Cow, io};

use rustyline::{
    ColorMode, Config, Context, Editor, ExternalPrinter, Helper,
    completion::Completer,
    error::ReadlineError,
    highlight::{CmdKind, Highlighter},
    hint::Hinter,
    history::MemHistory,
    validate::Validator,
};
pub(super) use terminal::Modes;
use unicode_width::UnicodeWidthStr;
use zeroize::Zeroizing;

use super::input::Ask;
use crate::{
    apdu::application,
    script::{WORDS, is_for_history},
};

const MAX_HISTORY_LINES: usize = 1000;

/// Reads lines from the terminal.
pub(super) struct Prompt {
    editor: Editor<Assistant, MemHistory>,
    /// Whether commands may have any structure.
    raw: bool,
}

impl Prompt {
    pub(super) fn new(raw: bool) -> io::Result<Self> {
        let editor = editor(MAX_HISTORY_LINES, false).map_err(io::Error::other)?;
        Ok(Self { editor, raw })
    }

    /// Writes above the line that is edited, if the terminal can.
    pub(super) fn printer(&mut self) -> Option<Box<dyn ExternalPrinter + Send>> {
        let printer = self.editor.create_external_printer().ok()?;
        Some(Box::new(printer))
    }

    /// Reads one line. Keeps it in the history if it is well formed and presents no secret.
    pub(super) fn read(&mut self, ask: &Ask) -> Result<Zeroizing<String>, ReadlineError> {
        match ask {
            Ask::Line(prompt) => {
                let line = Zeroizing::new(self.editor.readline(prompt)?);
                if is_for_history(&line, self.raw) {
                    self.editor.add_history_entry(&**line)?;
                }
                Ok(line)
            }
            Ask::Hidden(prompt) => {
                // An editor of its own: what is cut while a PIN is typed cannot be pasted at the prompt, and no line
                // of the history can get into a PIN.
                let mut editor = editor(0, true)?;
                // Also for terminals on which the editor cannot hide anything.
                let _silence = Modes::silence();
                Ok(Zeroizing::new(editor.readline(prompt)?))
            }
        }
    }
}

fn editor(history_lines: usize, is_hidden: bool) -> Result<Editor<Assistant, MemHistory>, ReadlineError> {
    let config = Config::builder().auto_add_history(false).max_history_size(history_lines)?;
    // The mask of a hidden line counts as a color; nothing else is colored.
    let config = config.color_mode(ColorMode::Forced).build();
    let history = MemHistory::with_config(&config);
    let mut editor = Editor::with_history(config, history)?;
    editor.set_helper(Some(Assistant { is_hidden }));
    Ok(editor)
}

/// Completes words, and hides a line.
struct Assistant {
    is_hidden: bool,
}

impl Helper for Assistant {}
impl Validator for Assistant {}

impl Hinter for Assistant {
    type Hint = String;
}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> Result<(usize, Vec<String>), ReadlineError> {
        Ok(if self.is_hidden { (at, Vec::new()) } else { candidates(line.get(..at).unwrap_or_default()) })
    }
}

impl Highlighter for Assistant {
    fn highlight<'line>(&self, line: &'line str, _: usize) -> Cow<'line, str> {
        if self.is_hidden { " ".repeat(line.width()).into() } else { line.into() }
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        self.is_hidden && kind != CmdKind::MoveCursor
    }
}

/// Where the last word of a line begins, and the words that continue it.
fn candidates(line: &str) -> (usize, Vec<String>) {
    let begin = line.rfind(char::is_whitespace).map_or(0, |space| space + 1);
    let (before, word) = line.split_at(begin);
    let words: Vec<&str> = match before.trim() {
        "" => WORDS.iter().map(|(word, ..)| *word).collect(),
        "select" => application::names().collect(),
        _ => Vec::new(),
    };
    let fitting = words.into_iter().filter(|candidate| candidate.starts_with(word));
    (begin, fitting.map(|candidate| format!("{candidate} ")).collect())
}

#[cfg(unix)]
mod terminal {
    use std::io;

    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

    /// The modes of the terminal at this time, restored when it is dropped.
    pub(in crate::session) struct Modes(Option<Termios>);

    impl Modes {
        pub(in crate::session) fn save() -> Self {
            Self(tcgetattr(io::stdin()).ok())
        }

        /// Saves the modes, and shows nothing that is typed.
        pub(super) fn silence() -> Self {
            let saved = Self::save();
            if let Some(mut modes) = saved.0.clone() {
                modes.local_modes.remove(LocalModes::ECHO);
                // If it fails, the editor still hides the line.
                let _ = tcsetattr(io::stdin(), OptionalActions::Now, &modes);
            }
            saved
        }
    }

    impl Drop for Modes {
        fn drop(&mut self) {
            if let Some(modes) = &self.0 {
                // Without its terminal the program has nothing to restore.
                let _ = tcsetattr(io::stdin(), OptionalActions::Now, modes);
            }
        }
    }
}

#[cfg(not(unix))]
mod terminal {
    /// Leaves the terminal to the editor, which hides and restores by itself.
    pub(in crate::session) struct Modes;

    impl Modes {
        pub(in crate::session) fn save() -> Self {
            Self
        }

        pub(super) fn silence() -> Self {
            Self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_applications_are_completed() {
        assert_eq!(candidates("se"), (0, vec!["select ".to_owned()]));
        assert_eq!(candidates("select op"), (7, vec!["openpgp ".to_owned()]));
        assert_eq!(candidates("00A4 se"), (5, Vec::new()));
        assert_eq!(candidates("").1.len(), WORDS.len());
    }

    #[test]
    fn a_hidden_line_is_blank_and_not_completed() {
        let assistant = Assistant { is_hidden: true };
        assert_eq!(assistant.highlight("123é", 0), "    ");
        assert!(assistant.highlight_char("1", 1, CmdKind::ForcedRefresh));
    }
}
