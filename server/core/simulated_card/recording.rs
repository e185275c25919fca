//! A recording of one reader's cards, put together from the events of a trace in their order.

use crate::{apdu::ApduBytes, slot::Protocol};

/// The recording of one card, from its insertion to its removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedCard {
    /// The card's answer to reset.
    pub atr: Vec<u8>,
    /// The protocol in use with the card.
    pub protocol: Protocol,
    /// The commands that the card received, in order.
    pub steps: Vec<Step>,
    /// Whether the card was removed. Always true of a card that another one follows.
    pub is_removed: bool,
}

/// A step of a recorded card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The line of the file, counted from 1.
    pub line: u64,
    /// The command that the line tells, or a gap.
    pub content: StepContent,
}

/// The recording of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepContent {
    /// The whole command and its answer.
    Whole {
        /// The bytes that the card received.
        command: ApduBytes,
        /// The response with its status word; `None` if the card did not answer.
        response: Option<ApduBytes>,
    },
    /// The trace hides the command or its answer.
    Masked {
        /// CLA, INS, P1 and P2; `None` if the command could not be parsed.
        header: Option<[u8; 4]>,
    },
    /// Events are missing, because the recorder was too slow. There may have been commands among them.
    Gap,
}

/// The cards of one reader so far. Resets are no part of it: the broker resets cards by itself.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    /// The cards before the present one.
    done: Vec<RecordedCard>,
    /// The present card, with the name of its insertion if the trace tells it.
    present: Option<(Option<String>, RecordedCard)>,
}

impl Recording {
    /// A card was inserted, or was present already. Another insertion than that of the present card ends that card. An
    /// empty `atr` and an absent `protocol` stand for those of the simulated card.
    pub fn on_card(&mut self, insertion_id: &str, atr: Vec<u8>, protocol: Option<Protocol>) {
        if self.present.as_ref().is_some_and(|(id, _)| id.as_deref() == Some(insertion_id)) {
            return;
        }
        self.on_removed();
        self.present = Some((Some(insertion_id.to_owned()), card(atr, protocol)));
    }

    /// The card was removed. A card that has received no command is left out.
    pub fn on_removed(&mut self) {
        let removed = self.present.take().map(|(_, card)| card).filter(|card| !card.steps.is_empty());
        self.done.extend(removed.map(|card| RecordedCard { is_removed: true, ..card }));
    }

    /// The card received a command. Without an insertion before it, the trace has begun later than the card came.
    pub fn on_command(&mut self, step: Step) {
        self.present.get_or_insert_with(|| (None, card(Vec::new(), None))).1.steps.push(step);
    }

    /// Events are missing before this line. Without a card in the reader, the trace goes on with its next one.
    pub fn on_gap(&mut self, line: u64) {
        if let Some((_, card)) = &mut self.present {
            card.steps.push(Step { line, content: StepContent::Gap });
        }
    }

    /// The cards in the order of their insertions. None if there never was one.
    pub fn finish(self) -> Vec<RecordedCard> {
        let mut cards = self.done;
        cards.extend(self.present.map(|(_, card)| card));
        cards
    }
}

fn card(atr: Vec<u8>, protocol: Option<Protocol>) -> RecordedCard {
    let protocol = protocol.unwrap_or(Protocol::T1);
    let atr = if atr.is_empty() { super::atr::atr(protocol, 0) } else { atr };
    RecordedCard { atr, protocol, steps: Vec::new(), is_removed: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(line: u64) -> Step {
        Step { line, content: StepContent::Masked { header: None } }
    }

    fn lines(cards: &[RecordedCard]) -> Vec<(Vec<u64>, bool)> {
        cards.iter().map(|card| (card.steps.iter().map(|step| step.line).collect(), card.is_removed)).collect()
    }

    #[test]
    fn insertions_and_removals_divide_the_commands_among_cards() {
        let mut recording = Recording::default();
        recording.on_command(masked(1));
        recording.on_card("a", vec![0x3B, 0x00], Some(Protocol::T0));
        recording.on_command(masked(2));
        recording.on_card("a", vec![0x3B, 0x00], Some(Protocol::T0));
        recording.on_command(masked(3));
        recording.on_removed();
        recording.on_gap(4);
        recording.on_card("b", Vec::new(), None);
        recording.on_removed();
        recording.on_card("c", Vec::new(), Some(Protocol::T1));
        recording.on_gap(5);
        let cards = recording.finish();
        assert_eq!(lines(&cards), [(vec![1], true), (vec![2, 3], true), (vec![5], false)]);
        assert_eq!((&cards[1].atr[..], cards[1].protocol), (&[0x3B, 0x00][..], Protocol::T0));
        assert_eq!((&cards[0].atr[..2], cards[0].protocol), (&[0x3B, 0x88][..], Protocol::T1));
    }

    #[test]
    fn the_last_card_counts_even_without_commands() {
        let mut recording = Recording::default();
        assert_eq!(recording.clone().finish(), []);
        recording.on_card("a", Vec::new(), None);
        assert_eq!(lines(&recording.clone().finish()), [(Vec::new(), false)]);
        recording.on_removed();
        assert_eq!(recording.finish(), []);
    }
}
