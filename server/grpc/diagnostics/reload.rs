//! `Reload`: the configuration and the tokens are read again.

use cardbroker_core::{
    error::{Failure, Reason},
    journal::Origin,
    policy::rule::Operation,
};
use cardbroker_proto::diagnostics::v1::{self, ReloadResponse, ReloadState};

use super::Diagnostics;
use crate::{
    config::{Part, PartState, ReloadedPart, Unanswered},
    grpc::convert::to_i32,
};

impl Diagnostics {
    /// Reads configuration and tokens again, for the operator `origin`.
    ///
    /// # Errors
    /// [`Reason::Denied`] without the permission, [`Reason::ConfigurationRefused`] for a mistake in a file,
    /// [`Reason::QueueFull`] if too many requests wait, [`Reason::QueueTimeout`] if the reading takes too long,
    /// [`Reason::ShuttingDown`] if the broker stops.
    pub(super) async fn reload_configuration(&self, origin: &Origin) -> Result<ReloadResponse, Failure> {
        self.broker.check_everywhere(origin, Operation::Configure)?;
        self.broker.on_reload_requested(origin);
        let outcome = self.facts.reloads.ask().await.map_err(unanswered)?;
        let parts = outcome.map_err(|mistake| Failure::not_sent(Reason::ConfigurationRefused, mistake))?;
        Ok(ReloadResponse { parts: parts.into_iter().map(wire_part).collect() })
    }
}

fn unanswered(why: Unanswered) -> Failure {
    let (reason, message) = match why {
        Unanswered::Full => (Reason::QueueFull, "too many reloads are requested at once"),
        Unanswered::Slow => {
            (Reason::QueueTimeout, "the reload is taking long and continues: see the last reload in the status")
        }
        Unanswered::Stopping => (Reason::ShuttingDown, "the broker is stopping"),
    };
    Failure::not_sent(reason, message)
}

fn wire_part(part: ReloadedPart) -> v1::ReloadedPart {
    let ReloadedPart { part, state, file, changed, more, message } = part;
    let part = match part {
        Part::Rules => v1::ReloadPart::Rules,
        Part::Settings => v1::ReloadPart::Settings,
        Part::Tokens => v1::ReloadPart::Tokens,
    };
    let state = match state {
        PartState::Unchanged => ReloadState::Unchanged,
        PartState::InForce => ReloadState::InForce,
        PartState::AfterRestart => ReloadState::AfterRestart,
        PartState::Failed => ReloadState::Failed,
    };
    v1::ReloadedPart {
        part: part.into(),
        state: state.into(),
        file: file.map(|file| file.display().to_string()).unwrap_or_default(),
        changed,
        more_changed_count: to_i32(more),
        message,
    }
}
