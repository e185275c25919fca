//! The text forms of reasons and deliveries, in `google.rpc.ErrorInfo` and in plain trailers.

use crate::v1::{Delivery, ErrorReason};

/// The `domain` of every `google.rpc.ErrorInfo` of the broker.
pub const ERROR_DOMAIN: &str = "cardbroker";

/// The trailer that repeats the reason for clients that do not decode error details.
pub const REASON_TRAILER: &str = "cardbroker-reason";

/// The trailer that repeats the delivery for clients that do not decode error details.
pub const DELIVERY_TRAILER: &str = "cardbroker-delivery";

const REASON_PREFIX: &str = "ERROR_REASON_";

impl ErrorReason {
    /// Returns every reason of this edition of the contract, `Unspecified` left out.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..).map_while(|number| Self::try_from(number).ok())
    }

    /// The short name: `QUEUE_TIMEOUT` for [`ErrorReason::QueueTimeout`].
    pub fn short_name(self) -> &'static str {
        let name = self.as_str_name();
        name.strip_prefix(REASON_PREFIX).unwrap_or(name)
    }

    /// Returns the reason with a short name, as found in a trailer or in `ErrorInfo.reason`; `None` for a reason of a
    /// newer contract.
    pub fn from_short_name(name: &str) -> Option<Self> {
        Self::from_str_name(&format!("{REASON_PREFIX}{name}"))
    }
}

impl Delivery {
    /// The short name: `not_sent`, `unknown` or `executed`; `unspecified` is never sent.
    pub fn short_name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::NotSent => "not_sent",
            Self::Unknown => "unknown",
            Self::Executed => "executed",
        }
    }

    /// Returns the delivery with a short name; with an unknown name the command may have reached the card.
    pub fn from_short_name(name: &str) -> Self {
        match name {
            "not_sent" => Self::NotSent,
            "executed" => Self::Executed,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_of_reasons_are_unique_and_reversible() {
        assert!(ErrorReason::all().count() > 30);
        for reason in ErrorReason::all() {
            assert_eq!(ErrorReason::from_short_name(reason.short_name()), Some(reason));
        }
    }

    #[test]
    fn an_undefined_delivery_counts_as_unknown() {
        assert_eq!(Delivery::from_short_name("not_sent"), Delivery::NotSent);
        assert_eq!(Delivery::from_short_name("sent_twice"), Delivery::Unknown);
    }
}
