//! Masks the exchanges of one reader, in their order.

use std::sync::Arc;

use super::{super::event::Sent, ApplicationId, CommandView, ShownData, ShownRules, ShownWord, level::Level, rounded};
use crate::apdu::{ApduBytes, Class, CommandParts, StatusWord, stays_in_reader};

/// Follows the exchanges of one reader and decides what is shown of each. An exchange that continues a masked one is
/// masked too: the links of a chain, and the command that fetches the rest of a response, also after the card has
/// refused it and may still keep the response. After bytes that are no APDU the next command may continue them.
#[derive(Debug, Clone, Default)]
pub struct ExchangeMask {
    rules: Arc<ShownRules>,
    /// Whether the next exchange would continue a masked one.
    continues: bool,
}

impl ExchangeMask {
    /// Creates the mask of a reader that has had no exchange yet.
    pub fn new(rules: Arc<ShownRules>) -> Self {
        Self { rules, continues: false }
    }

    /// Returns the view of the next exchange, and its bytes if they are wanted and may be shown.
    pub fn next(&mut self, sent: Sent<'_>, wants_data: bool) -> (CommandView, Option<ShownData>) {
        let word = sent.response.and_then(StatusWord::split).map(|(_, word)| word);
        let parts = CommandParts::of(sent.command);
        let stays_in_reader = parts.as_ref().is_some_and(|parts| stays_in_reader(parts.header));
        // The card has not received a command to the reader, and may keep its response.
        let is_continued = !stays_in_reader && std::mem::take(&mut self.continues);
        let Some(parts) = parts else {
            self.continues = true;
            return (CommandView::of_secret(None, None, sent), None);
        };
        let level = if is_continued { Level::Secret } else { self.rules.level(parts.header) };
        if level == Level::Secret {
            let is_chaining = Class(parts.header[0]).is_chaining();
            // A card may keep its response after it has refused a command.
            let keeps = word.is_some_and(|word| word.offers_data() || is_continued && word.is_error());
            self.continues |= is_chaining || keeps;
            return (CommandView::of_secret(Some(parts.header), word, sent), None);
        }
        let view = CommandView::of_harmless(parts, word, sent);
        let bytes = |bytes: &[u8]| ApduBytes::from(bytes);
        let is_shown = wants_data && level == Level::Data;
        let data = is_shown.then(|| ShownData { command: bytes(sent.command), response: sent.response.map(bytes) });
        (view, data)
    }
}

impl CommandView {
    /// The view of a command that may present a secret.
    fn of_secret(header: Option<[u8; 4]>, word: Option<StatusWord>, sent: Sent<'_>) -> Self {
        Self {
            header,
            expected_length: None,
            application: None,
            word: word.map(ShownWord::after_secret),
            duration: rounded(sent.took),
            hides_data: true,
        }
    }

    /// The view of a command that presents no secret.
    fn of_harmless(parts: CommandParts<'_>, word: Option<StatusWord>, sent: Sent<'_>) -> Self {
        let [class, instruction, p1, _] = parts.header;
        let names_application = Class(class).is_interindustry() && (instruction, p1) == (0xA4, 0x04);
        let application = names_application.then(|| ApplicationId::new(parts.data)).flatten();
        let has_answer = sent.response.is_some_and(|response| response.len() > 2);
        Self {
            header: Some(parts.header),
            expected_length: parts.expected_length.and_then(|length| u32::try_from(length).ok()),
            application,
            word: word.map(ShownWord::Word),
            duration: sent.took,
            hides_data: has_answer || !parts.data.is_empty() && application.is_none(),
        }
    }
}
