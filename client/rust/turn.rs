//! The terms of a turn, which units and sessions share.

use std::time::Duration;

use cardbroker_proto::v1::{CardRequirement, CardReset, TurnOptions};

use crate::response::to_wire;

/// The broker's default for how long a request may wait.
pub(crate) const DEFAULT_WAIT: Duration = Duration::from_secs(30);

/// The time for the card in all if the user sets no deadline: above the broker's exchange timeout of 120 s.
pub(crate) const CARD_TIME: Duration = Duration::from_secs(150);

/// The maximum deadline; the contract allows waits of 24 h.
pub(crate) const MAX_DEADLINE: Duration = Duration::from_secs(48 * 3600);

/// The terms as set by the user.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) wait: Option<Duration>,
    pub(crate) card: CardRequirement,
    pub(crate) if_insertion_id: String,
    pub(crate) if_state_tag: String,
    pub(crate) if_not_raised: bool,
    pub(crate) reset_before: CardReset,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            wait: None,
            card: CardRequirement::Unspecified,
            if_insertion_id: String::new(),
            if_state_tag: String::new(),
            if_not_raised: false,
            reset_before: CardReset::Unspecified,
        }
    }
}

impl Terms {
    /// How long the request may wait, with the broker's default filled in.
    pub(crate) fn wait(&self) -> Duration {
        self.wait.unwrap_or(DEFAULT_WAIT).min(MAX_DEADLINE)
    }

    /// Converts the terms; `None` if all are the broker's defaults.
    pub(crate) fn to_wire(&self) -> Option<TurnOptions> {
        let options = TurnOptions {
            wait_timeout: self.wait.map(|wait| to_wire(wait.min(MAX_DEADLINE))),
            card: self.card.into(),
            if_insertion_id: self.if_insertion_id.clone(),
            if_state_tag: self.if_state_tag.clone(),
            if_not_raised: self.if_not_raised,
            reset_before: self.reset_before.into(),
        };
        (options != TurnOptions::default()).then_some(options)
    }
}

/// The options that units and sessions have in common.
macro_rules! turn_options {
    () => {
        /// Sets how long to wait for the turn, at most 24 h. Default: 30 s; zero means now or never.
        pub fn wait_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.terms.wait = Some(timeout);
            self
        }

        /// Waits, as long as `wait_timeout`, for a usable card instead of failing without one: `card` with
        /// [`CardRequirement::Awaited`](crate::CardRequirement::Awaited).
        pub fn wait_for_card(self) -> Self {
            self.card(crate::CardRequirement::Awaited)
        }

        /// Sets whether the turn needs a usable card. Default: required.
        pub fn card(mut self, requirement: crate::CardRequirement) -> Self {
            self.terms.card = requirement;
            self
        }

        /// Fails, not sent, unless the card is still in this insertion
        /// ([`Reader::insertion_id`](crate::Reader::insertion_id)). At most 128 bytes.
        pub fn if_insertion_id(mut self, id: impl Into<String>) -> Self {
            self.terms.if_insertion_id = id.into();
            self
        }

        /// Fails, not sent, if any caller has used or reset the card since
        /// ([`Transmitted::state_tag`](crate::Transmitted::state_tag)). At most 128 bytes.
        pub fn if_state_tag(mut self, tag: impl Into<String>) -> Self {
            self.terms.if_state_tag = tag.into();
            self
        }

        /// Fails, not sent, if the card may hold security state of any caller, this one included, such as a verified
        /// PIN.
        pub fn if_not_raised(mut self) -> Self {
            self.terms.if_not_raised = true;
            self
        }

        /// Sets what happens to the card before the first command. Default: nothing. A reset needs the permission
        /// `reset`.
        pub fn reset_before(mut self, reset: crate::CardReset) -> Self {
            self.terms.reset_before = reset;
            self
        }
    };
}
pub(crate) use turn_options;
