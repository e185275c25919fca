//! The access of one caller to one reader, decided by the policy in force at the moment of each check. Denials go into
//! the audit trail.

use std::{sync::Arc, time::Instant};

use cardbroker_core::{
    caller::Caller,
    card::{
        gate::Refusal,
        unit::{UnitCommand, headers},
    },
    error::Failure,
    journal::{Event, EventKind, Origin},
    policy::{Application, Command, CommandRules, Decision, Policy, ReaderNames, rule::Operation},
};
use tokio::sync::watch;

use super::audit::{self, AuditTrail};
use crate::journal::JournalHandle;

/// The name of the operation in a denial of a command.
const COMMAND: &str = "send this command";

/// How a denial of `operation` calls what the gate has refused.
fn denied_name(operation: Operation) -> &'static str {
    match operation {
        Operation::GuardOverride => Operation::GuardOverride.as_str(),
        _ => COMMAND,
    }
}

/// The policy in force. Receives every new policy.
pub type PolicyInForce = watch::Receiver<Arc<Policy>>;

/// Checks one request against the policy. Clones belong to the same request.
#[derive(Clone)]
pub struct Access(Arc<Request>);

struct Request {
    policy: PolicyInForce,
    /// The trail and the journal of the reader that denials go into.
    records: Records,
    origin: Arc<Origin>,
    reader: Arc<ReaderNames>,
    /// The main operation: [`Operation::Transmit`] or [`Operation::Session`].
    operation: Operation,
    /// Further operations that the request needs, such as a reset.
    also: Vec<Operation>,
}

/// Where an access records: the broker's audit trail, and the journal of its reader.
#[derive(Clone)]
#[cfg_attr(test, derive(Default))]
pub struct Records {
    /// The audit trail of the broker.
    pub trail: AuditTrail,
    /// The journal of the reader.
    pub journal: JournalHandle,
}

impl Access {
    /// Creates the access of the request `origin` to `reader` for `operation` and the operations in `also`. Checks
    /// nothing yet. Denials go into `records`.
    pub fn new(
        policy: PolicyInForce,
        records: Records,
        origin: Arc<Origin>,
        reader: Arc<ReaderNames>,
        operation: Operation,
        also: Vec<Operation>,
    ) -> Self {
        Self(Arc::new(Request { policy, records, origin, reader, operation, also }))
    }

    /// The caller that sent the request.
    pub fn caller(&self) -> &Caller {
        &self.0.origin.caller
    }

    /// The request, for the journal.
    pub fn origin(&self) -> &Arc<Origin> {
        &self.0.origin
    }

    /// Checks all operations of the request. Call it again whenever the policy may have changed.
    ///
    /// # Errors
    /// The first denial, in the order see, main operation, further operations.
    pub fn holds(&self) -> Result<(), Failure> {
        self.check(Operation::See)?;
        self.check_operations()
    }

    /// Checks the main operation of the request and the further ones, for a reader that the caller may see.
    ///
    /// # Errors
    /// The first denial.
    pub fn check_operations(&self) -> Result<(), Failure> {
        [self.0.operation].iter().chain(&self.0.also).try_for_each(|operation| self.check(*operation))
    }

    /// Checks one operation of the request.
    ///
    /// # Errors
    /// The denial, with the name of the rule.
    pub fn check(&self, operation: Operation) -> Result<(), Failure> {
        let decision = self.0.policy.borrow().decide(&self.caller().identity, &self.0.reader, operation);
        self.enforce(decision, operation, operation.as_str())
    }

    /// The visits of the caller's user in each round of the users, by the rule that allows the main operation.
    pub fn share(&self) -> u8 {
        let Request { policy, reader, operation, .. } = &*self.0;
        policy.borrow().decide(&self.caller().identity, reader, *operation).share
    }

    /// The policy that is in force now, for [`Access::command_rules`].
    pub fn policy(&self) -> Arc<Policy> {
        self.0.policy.borrow().clone()
    }

    /// The rules of `policy` for the request's commands, for the gate.
    pub fn command_rules<'a>(&'a self, policy: &'a Policy) -> CommandRules<'a> {
        let Request { reader, operation, .. } = &*self.0;
        CommandRules { policy, caller: &self.caller().identity, reader, operation: *operation }
    }

    /// Records that the gate has refused a command of the request, and returns the failure for its caller.
    pub fn record_refusal(&self, refusal: Refusal) -> Failure {
        match refusal {
            Refusal::LeaseEnded(failure) => failure,
            Refusal::Denied(decision, operation) => self.record_denial(decision, operation, denied_name(operation)),
            Refusal::PinGuarded(failure) => {
                self.0.records.trail.pin_kept_from_card(self.origin(), &self.0.reader.id, &failure);
                failure
            }
        }
    }

    /// Checks a unit's commands before the turn, with an open selection. The card's protocol selects one of two headers
    /// for the fetching of an answer. It is enough here that one of them is allowed: the gate checks again.
    ///
    /// # Errors
    /// The first denial, with the index of its command.
    pub fn check_commands(&self, commands: &[UnitCommand]) -> Result<(), Failure> {
        let policy = self.policy();
        if policy.allows_everything(&self.caller().identity) {
            return Ok(());
        }
        let rules = self.command_rules(&policy);
        let overrides = |index: usize| commands.get(index).is_some_and(|command| command.allow_known_wrong);
        headers(commands).try_for_each(|(index, [header, or])| {
            let operations = [Some(self.0.operation), overrides(index).then_some(Operation::GuardOverride)];
            operations.into_iter().flatten().try_for_each(|operation| {
                let rules = CommandRules { operation, ..rules };
                let decide = |header| rules.decide(Command { header, application: Application::Later });
                let decision = Some(decide(header)).filter(|decision| decision.allowed || or == header);
                let decision = decision.unwrap_or_else(|| decide(or));
                self.enforce(decision, operation, denied_name(operation)).map_err(|failure| {
                    let message = format!("commands[{index}]: {}", failure.message);
                    failure.with_message(message)
                })
            })
        })
    }

    /// The id of the reader.
    pub fn reader_id(&self) -> &str {
        &self.0.reader.id
    }

    /// Records an event of the session.
    pub fn audit(&self, event: audit::SessionRecord<'_>) {
        self.0.records.trail.session(self.origin(), &self.0.reader.id, event);
    }

    /// Records that the operator `by` ends the turn of this request.
    pub fn audit_release(&self, by: &Origin, words: &str) {
        self.0.records.trail.released(by, &self.0.reader.id, words);
    }

    fn enforce(&self, decision: Decision, operation: Operation, what: &str) -> Result<(), Failure> {
        if decision.allowed { Ok(()) } else { Err(self.record_denial(decision, operation, what)) }
    }

    fn record_denial(&self, decision: Decision, operation: Operation, what: &str) -> Failure {
        self.0.records.trail.denied(self.origin(), &self.0.reader.id, operation, &decision.rule);
        self.0.records.journal.record(&Event {
            at: Instant::now(),
            origin: Some(Arc::clone(&self.0.origin)),
            lease: None,
            kind: EventKind::Denied { operation, rule: Arc::clone(&decision.rule) },
        });
        denial(decision.rule, what)
    }
}

/// The failure of a request that `rule` denies; `what` names the operation.
pub(crate) fn denial(rule: Arc<str>, what: &str) -> Failure {
    let message = format!(
        "denied by rule \"{rule}\" ({what}): ask the administrator of the broker; cardbroker policy check explains it"
    );
    Failure::denied(rule, message)
}

/// Access to everything, for tests of other things.
#[cfg(test)]
pub(crate) fn unlimited(key: cardbroker_core::caller::CallerKey) -> Access {
    unlimited_for(key, 0)
}

/// As [`unlimited`], for a caller of the user with this number among the examples.
#[cfg(test)]
pub(crate) fn unlimited_for(key: cardbroker_core::caller::CallerKey, user: u32) -> Access {
    let identity = cardbroker_core::caller::Identity::User(cardbroker_core::user::example_account(user));
    let caller = Caller { key, connection: 1, identity, pid: None, executable: None, program: None, via_sshd: false };
    let names = ReaderNames { id: "reader".into(), display_name: "Reader".into() };
    let origin = Arc::new(Origin { caller, group: None, traceparent: None });
    Access::new(unlimited_policy(), Records::default(), origin, names.into(), Operation::Transmit, Vec::new())
}

/// A policy that allows everything to the caller of [`unlimited`].
#[cfg(test)]
pub(crate) fn unlimited_policy() -> PolicyInForce {
    watch::Sender::new(Arc::new(Policy::new(Vec::new(), cardbroker_core::user::example(0)))).subscribe()
}
