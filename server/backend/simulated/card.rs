//! A card of a simulated reader: a simulated one, or one of a trace.

use std::time::Duration;

use cardbroker_core::{
    simulated_card::{CardOptions, Reaction, ReplayedCard, SimulatedCard},
    slot::Protocol,
};

/// A card that a bay can hold. Unpowered at first.
pub enum BayCard {
    /// A card with commands of its own.
    Simulated(SimulatedCard),
    /// A card that answers as a trace has recorded it.
    Replayed(ReplayedCard),
}

impl From<CardOptions> for BayCard {
    /// Creates a simulated card with these options.
    fn from(options: CardOptions) -> Self {
        Self::Simulated(SimulatedCard::new(options))
    }
}

impl From<ReplayedCard> for BayCard {
    fn from(card: ReplayedCard) -> Self {
        Self::Replayed(card)
    }
}

impl BayCard {
    /// The card that is inserted after this one: a simulated card with the same options and the next serial number, or
    /// the trace's next card, if there is one.
    pub(super) fn successor(&self) -> Option<Self> {
        match self {
            Self::Simulated(card) => {
                let serial = card.options().serial.wrapping_add(1);
                Some(CardOptions { serial, ..*card.options() }.into())
            }
            Self::Replayed(card) => card.next().map(Self::Replayed),
        }
    }

    /// The protocol of the card.
    pub(super) fn protocol(&self) -> Protocol {
        match self {
            Self::Simulated(card) => card.options().protocol,
            Self::Replayed(card) => card.protocol(),
        }
    }

    /// The duration of a reset.
    pub fn reset_time(&self) -> Duration {
        match self {
            Self::Simulated(card) => card.options().reset_time,
            Self::Replayed(_) => Duration::ZERO,
        }
    }

    /// The answer to reset that the card gives when it is not mute.
    pub fn atr(&self) -> Vec<u8> {
        match self {
            Self::Simulated(card) => card.atr(),
            Self::Replayed(card) => card.atr(),
        }
    }

    /// Powers the card on or resets it. Returns the ATR; `None` if the card is mute.
    pub fn reset(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Simulated(card) => card.reset(),
            Self::Replayed(card) => Some(card.reset()),
        }
    }

    /// Powers the card off, which ends its security state.
    pub fn power_off(&mut self) {
        match self {
            Self::Simulated(card) => card.power_off(),
            Self::Replayed(card) => card.power_off(),
        }
    }

    /// Whether the card has answered a reset and not lost power since.
    pub fn powered(&self) -> bool {
        match self {
            Self::Simulated(card) => card.powered(),
            Self::Replayed(card) => card.powered(),
        }
    }

    /// Runs a command APDU (on T=0 a TPDU) and returns the card's reaction.
    pub fn transmit(&mut self, bytes: &[u8]) -> Reaction {
        match self {
            Self::Simulated(card) => card.transmit(bytes),
            Self::Replayed(card) => card.transmit(bytes),
        }
    }
}
