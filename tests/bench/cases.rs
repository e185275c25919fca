//! The cases that can be measured.

use std::path::Path;

use clap::ValueEnum;

use crate::{
    alone, daemon, door, events, floods, groups, hand_over, inside, operators, queue, report::Table, rounds::Effort,
    scale, tls, together, users,
};

/// One case, by its name on the command line.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// One client: the cost of the broker.
    Alone,
    /// One client on the TCP port: the cost of TLS.
    Tls,
    /// Where the time goes inside the broker.
    Inside,
    /// Many clients on one card at once.
    Together,
    /// Isolation groups on a card with slow resets.
    Groups,
    /// Users who share a card with slow resets.
    Users,
    /// From one holder of the card to the next.
    HandOver,
    /// Programs that use PC/SC, on pcscd and on the door.
    Door,
    /// From an insertion to the watching clients.
    Events,
    /// Operators who look on: the cost of a trace and of a status.
    Operators,
    /// Floods of a hostile user beside a client.
    Floods,
    /// Many readers, watchers, clients and sessions.
    Scale,
    /// The queue without the rest of the broker.
    Queue,
    /// The daemon by itself: start, command line, idle wake-ups and memory.
    Daemon,
}

/// The cases of the smoke run: their ratios are those of the broker to PC/SC itself.
pub(crate) const SMOKE: [Case; 3] = [Case::Alone, Case::Together, Case::Door];

impl Case {
    /// The name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Measures the case. `before` is another build of the broker.
    ///
    /// # Errors
    /// A process of the run fails, or something that must happen does not.
    pub(crate) async fn measure(self, effort: Effort, before: Option<&Path>) -> anyhow::Result<Vec<Table>> {
        Ok(match self {
            Self::Alone => vec![alone::measure(effort).await?],
            Self::Tls => vec![tls::measure(effort).await?],
            Self::Inside => vec![inside::measure(effort).await?],
            Self::Together => together::measure(effort).await?,
            Self::Groups => vec![groups::measure(effort, before).await?],
            Self::Users => vec![users::measure(effort).await?],
            Self::HandOver => vec![hand_over::measure(effort).await?],
            Self::Door => door::measure(effort).await?,
            Self::Events => vec![events::measure(effort).await?],
            Self::Operators => vec![operators::measure(effort).await?],
            Self::Floods => vec![floods::measure(effort, before).await?],
            Self::Scale => scale::measure(effort).await?,
            Self::Queue => vec![queue::measure(effort)],
            Self::Daemon => daemon::measure(effort).await?,
        })
    }
}
