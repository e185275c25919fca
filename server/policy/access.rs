//! What one caller may do at one reader, by the policy that is in force at the moment of the question. Denials go into the audit trail.

use std::sync::Arc;

use cardbroker_core::{
    apdu::Header,
    caller::Caller,
    card::gate::Refusal,
    error::Failure,
    policy::{Application, Command, CommandRules, Decision, Policy, ReaderNames, rule::Operation},
};
use tokio::sync::watch;

use super::audit::{self, AuditTrail};

/// What a command is in the words of a denial.
const COMMAND: &str = "send this command";

/// The policy, now and at every change.
pub type PolicyInForce = watch::Receiver<Arc<Policy>>;

/// Asks the policy on behalf of one request. Clones belong to the same request.
#[derive(Clone)]
pub struct Access(Arc<Request>);

struct Request {
    policy: PolicyInForce,
    /// Where denials go.
    trail: AuditTrail,
    caller: Caller,
    reader: Arc<ReaderNames>,
    /// [`Operation::Transmit`] or [`Operation::Session`].
    operation: Operation,
    /// What else it was made for.
    also: Vec<Operation>,
}

impl Access {
    /// The access of `caller` to do `operation`, and `also` these, at `reader`. Nothing is asked yet. Denials go into
    /// `trail`.
    pub fn new(
        policy: PolicyInForce,
        trail: AuditTrail,
        caller: Caller,
        reader: Arc<ReaderNames>,
        operation: Operation,
        also: Vec<Operation>,
    ) -> Self {
        Self(Arc::new(Request { policy, trail, caller, reader, operation, also }))
    }

    /// Whose it is.
    pub fn caller(&self) -> &Caller {
        &self.0.caller
    }

    /// Whether the request may do all that it was made for; to be asked again whenever the policy may have changed.
    ///
    /// # Errors
    /// Denied.
    pub fn holds(&self) -> Result<(), Failure> {
        [Operation::See, self.0.operation].iter().chain(&self.0.also).try_for_each(|operation| self.check(*operation))
    }

    /// Whether the request may do `operation`.
    ///
    /// # Errors
    /// Denied.
    pub fn check(&self, operation: Operation) -> Result<(), Failure> {
        let decision = self.0.policy.borrow().decide(&self.0.caller.identity, &self.0.reader, operation);
        self.enforce(decision, operation, operation.as_str())
    }

    /// The policy at this moment, for [`Access::command_rules`].
    pub fn policy(&self) -> Arc<Policy> {
        self.0.policy.borrow().clone()
    }

    /// What `policy` says of the request's commands, for the gate.
    pub fn command_rules<'a>(&'a self, policy: &'a Policy) -> CommandRules<'a> {
        let Request { caller, reader, operation, .. } = &*self.0;
        CommandRules { policy, caller: &caller.identity, reader, operation: *operation }
    }

    /// Records that the gate has kept a command of the request from the card, and returns what its caller gets.
    pub fn record_refusal(&self, refusal: Refusal) -> Failure {
        match refusal {
            Refusal::LeaseEnded(failure) => failure,
            Refusal::Denied(decision) => self.record_denial(decision, self.0.operation, COMMAND),
            Refusal::PinKept(failure) => {
                audit::pin_kept_from_card(&self.0.caller, &self.0.reader.id, &failure);
                failure
            }
        }
    }

    /// Whether these commands may be sent once the turn has come, whatever is selected then. Each has its place in the
    /// unit, and two headers where it depends on the card which of them is sent: one that may be is enough here, and
    /// the gate looks again.
    ///
    /// # Errors
    /// Denied, with the place of the first one that may not.
    pub fn check_headers(&self, headers: impl IntoIterator<Item = (usize, [Header; 2])>) -> Result<(), Failure> {
        let policy = self.policy();
        if policy.allows_everything(&self.0.caller.identity) {
            return Ok(());
        }
        let rules = self.command_rules(&policy);
        headers.into_iter().try_for_each(|(index, [header, or])| {
            let decide = |header| rules.decide(Command { header, application: Application::Later });
            let decision = Some(decide(header)).filter(|decision| decision.allowed || or == header);
            let decision = decision.unwrap_or_else(|| decide(or));
            self.enforce(decision, self.0.operation, COMMAND).map_err(|failure| Failure {
                message: format!("commands[{index}]: {}", failure.message).into(),
                ..failure
            })
        })
    }

    /// The id of the reader.
    pub fn reader_id(&self) -> &str {
        &self.0.reader.id
    }

    /// The record of a session's begin and end.
    pub fn audit(&self, event: audit::SessionRecord<'_>) {
        audit::session(&self.0.caller, &self.0.reader.id, event);
    }

    fn enforce(&self, decision: Decision, operation: Operation, what: &str) -> Result<(), Failure> {
        if decision.allowed { Ok(()) } else { Err(self.record_denial(decision, operation, what)) }
    }

    fn record_denial(&self, decision: Decision, operation: Operation, what: &str) -> Failure {
        self.0.trail.denied(&self.0.caller, &self.0.reader.id, operation, &decision.rule);
        let message = format!(
            "denied by rule \"{}\" ({what}): ask those who run the broker; cardbroker policy check explains",
            decision.rule
        );
        Failure::denied(decision.rule, message)
    }
}

/// Access for everything, for tests that are about something else.
#[cfg(test)]
pub(crate) fn unlimited(key: cardbroker_core::caller::CallerKey) -> Access {
    let identity = cardbroker_core::caller::Identity::User { uid: 0, gid: 0 };
    let caller = Caller { key, connection: 1, identity, pid: None, executable: None };
    let names = ReaderNames { id: "reader".into(), display_name: "Reader".into() };
    Access::new(unlimited_policy(), AuditTrail::default(), caller, names.into(), Operation::Transmit, Vec::new())
}

/// A policy that allows everything to the one whom [`unlimited`] permits are for.
#[cfg(test)]
pub(crate) fn unlimited_policy() -> PolicyInForce {
    watch::Sender::new(Arc::new(Policy::new(Vec::new(), 0))).subscribe()
}
