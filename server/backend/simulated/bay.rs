//! The bay of a simulated card: insertions and removals, including future ones. `now` is an argument.

use std::time::Instant;

use cardbroker_core::simulated_card::Absence;

use super::BayCard;

/// A bay for one card.
pub struct Bay {
    card: Option<BayCard>,
    event_count: u32,
    /// When the card leaves; `None` if it stays.
    leaving: Option<Instant>,
    /// The time of the next insertion, and its card.
    coming: Option<(Instant, BayCard)>,
}

impl Bay {
    /// Creates a bay with a card in it.
    pub fn new(card: impl Into<BayCard>) -> Self {
        Self { card: Some(card.into()), event_count: 1, leaving: None, coming: None }
    }

    /// Creates a bay without a card.
    pub(super) fn empty() -> Self {
        Self { card: None, event_count: 0, leaving: None, coming: None }
    }

    /// Returns the card, if there is one.
    pub fn card(&self) -> Option<&BayCard> {
        self.card.as_ref()
    }

    /// Returns the card, if there is one, for a command or a reset.
    pub fn card_mut(&mut self) -> Option<&mut BayCard> {
        self.card.as_mut()
    }

    /// The event count, which changes at every insertion and removal.
    pub fn event_count(&self) -> u32 {
        self.event_count
    }

    /// Inserts a new card in place of the current one, and cancels future events.
    pub fn insert(&mut self, card: impl Into<BayCard>) {
        self.remove();
        self.card = Some(card.into());
        self.event_count = self.event_count.wrapping_add(1);
    }

    /// Removes the card, and cancels future events.
    pub fn remove(&mut self) {
        (self.leaving, self.coming) = (None, None);
        if self.card.take().is_some() {
            self.event_count = self.event_count.wrapping_add(1);
        }
    }

    /// Schedules a removal. The next card is the successor of this one.
    pub fn leave(&mut self, absence: Absence, now: Instant) {
        let Some(card) = &self.card else { return };
        let leaving = now + absence.after;
        self.coming = absence.back.and_then(|back| Some((leaving + back, card.successor()?)));
        self.leaving = Some(leaving);
    }

    /// Applies all due events. Returns whether there was one.
    pub fn advance(&mut self, now: Instant) -> bool {
        let before = self.event_count;
        if self.leaving.is_some_and(|due| due <= now) {
            let coming = self.coming.take();
            self.remove();
            self.coming = coming;
        }
        if let Some((_, card)) = self.coming.take_if(|(due, _)| *due <= now) {
            self.insert(card);
        }
        self.event_count != before
    }

    /// When [`Bay::advance`] has the next event to apply.
    pub fn next_event(&self) -> Option<Instant> {
        self.leaving.or(self.coming.as_ref().map(|(due, _)| *due))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cardbroker_core::simulated_card::{CardOptions, SimulatedCard};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_card_leaves_and_another_one_comes() {
        let start = Instant::now();
        let mut bay = Bay::new(CardOptions::default());
        bay.leave(Absence { after: SECOND, back: Some(SECOND) }, start);
        assert!(!bay.advance(start));
        assert_eq!(bay.next_event(), Some(start + SECOND));
        assert!(bay.advance(start + SECOND) && bay.card().is_none());
        assert_eq!(bay.next_event(), Some(start + 2 * SECOND));
        assert!(bay.advance(start + 2 * SECOND));
        let next = CardOptions { serial: 1, ..CardOptions::default() };
        assert_eq!(bay.card().unwrap().atr(), SimulatedCard::new(next).atr());
        assert_eq!((bay.event_count(), bay.next_event()), (3, None));
    }

    #[test]
    fn a_quick_swap_changes_the_event_count() {
        let start = Instant::now();
        let mut bay = Bay::new(CardOptions::default());
        bay.leave(Absence { after: Duration::ZERO, back: Some(Duration::ZERO) }, start);
        assert!(bay.advance(start) && bay.card().is_some());
        assert_eq!(bay.event_count(), 3);
    }

    #[test]
    fn a_removal_cancels_future_events() {
        let start = Instant::now();
        let mut bay = Bay::new(CardOptions::default());
        bay.leave(Absence { after: SECOND, back: Some(SECOND) }, start);
        bay.remove();
        assert_eq!((bay.next_event(), bay.advance(start + 5 * SECOND)), (None, false));
    }
}
