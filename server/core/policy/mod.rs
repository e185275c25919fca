//! The policy: decides which operations a caller may perform at a reader. The first rule that matches decides. After
//! the last rule comes the default: the broker's own user may do everything, every other caller nothing. If there are
//! no rules, administrators (root; on Windows the system and elevated processes) may see the readers and do what is for
//! operators.
//!
//! The selected application is known only from the card's own answers. A rule that depends on an unknown application
//! does not match if it allows, and matches if it denies. The same holds for every rule with commands if the bytes of a
//! command cannot be parsed.

mod operation;
pub mod pattern;
pub mod principal;
mod reader_names;
pub mod rule;
#[cfg(test)]
pub(crate) mod tests;
pub mod unfit;

use std::{fmt, sync::Arc, time::Instant};

pub use self::reader_names::ReaderNames;
use self::{
    rule::{ApplicationPattern, Effect, Operation, Rule},
    unfit::Unfit,
};
use crate::{
    apdu::Header,
    caller::{Identity, Principal, TokenId},
    user::SystemUser,
};

/// The name of the default rule, which comes after the last one.
const DEFAULT_RULE: &str = "default";
/// The name of the rule that denies everything to holders of a removed token.
const NO_TOKEN: &str = "no such token";

/// The selected application, as far as it is known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Application<'a> {
    /// The turn has not begun: the selection may still change.
    Later,
    /// The selection on the card is unknown.
    Unknown,
    /// The name of the application, or its beginning.
    Known(&'a [u8]),
}

/// Without the name, which comes from the bytes of a command or a response.
impl fmt::Debug for Application<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Later => "Later",
            Self::Unknown => "Unknown",
            Self::Known(_) => "Known([redacted])",
        })
    }
}

/// The parts of a command that rules match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command<'a> {
    /// The first four bytes, or unreadable.
    pub header: Header,
    /// The application that is selected on its logical channel.
    pub application: Application<'a>,
}

/// The rules for the commands of one request, under the policy in force at one moment.
#[derive(Debug, Clone, Copy)]
pub struct CommandRules<'a> {
    /// The policy at that moment.
    pub policy: &'a Policy,
    /// The caller that sent the request.
    pub caller: &'a Identity,
    /// The reader that the request names.
    pub reader: &'a ReaderNames,
    /// The operation, which [concerns commands](Operation::concerns_commands).
    pub operation: Operation,
}

impl CommandRules<'_> {
    /// Decides whether the command may be sent.
    pub fn decide(&self, command: Command<'_>) -> Decision {
        self.policy.decide_command(self.caller, self.reader, self.operation, command)
    }
}

/// The policy's decision, with the rule that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether the operation is allowed.
    pub allowed: bool,
    /// Whether it is allowed for some commands only.
    pub some_commands: bool,
    /// The name of the rule that decided.
    pub rule: Arc<str>,
    /// The visits of the caller's user in each round of the users, 1–100; see [`Rule::share`].
    pub share: u8,
}

/// Whether a rule matches a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    Yes,
    No,
    /// Not decided yet: it depends on the command or on the selected application.
    Perhaps,
}

/// The rules in force, with the owner and the valid tokens.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The rules in their order; the first one that matches decides.
    rules: Vec<Rule>,
    /// `None` if the system does not tell the broker's own user.
    owner: Option<Principal>,
    /// The valid tokens; `None` if every token counts as valid.
    tokens: Option<Vec<TokenId>>,
    /// The name of the rule after the last one, in decisions.
    default_rule: Arc<str>,
    /// The name of the rule against callers without a valid token, in decisions.
    no_token: Arc<str>,
    /// The number of changes before it.
    revision: u64,
    /// When it came into force; `None` for the policy of the start.
    since: Option<Instant>,
}

impl Policy {
    /// Creates the policy of `rules` for a broker that runs as the user `own`.
    pub fn new(rules: Vec<Rule>, own: SystemUser) -> Self {
        let owner = (!own.is_nobody()).then_some(Principal::User(own));
        let (default_rule, no_token) = (DEFAULT_RULE.into(), NO_TOKEN.into());
        Self { rules, owner, tokens: None, default_rule, no_token, revision: 0, since: None }
    }

    /// Returns the policy with a list of valid tokens. The holder of any other token, such as a removed one, is denied
    /// everything.
    pub fn with_tokens(self, tokens: impl IntoIterator<Item = TokenId>) -> Self {
        Self { tokens: Some(tokens.into_iter().collect()), ..self }
    }

    /// The rules in their order in the file.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns the same policy with another revision number.
    pub fn with_revision(self, revision: u64) -> Self {
        Self { revision, ..self }
    }

    /// The number of policies in force before this one in this run of the broker. The broker counts them.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns the same policy, in force since this moment.
    pub fn in_force_since(self, since: Instant) -> Self {
        Self { since: Some(since), ..self }
    }

    /// Since when it is in force; `None` for the policy with which the broker has started.
    pub fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Decides about an operation. One that concerns commands is allowed if it is for at least one command.
    pub fn decide(&self, who: &Identity, reader: &ReaderNames, operation: Operation) -> Decision {
        self.first(who, self.rules_at(who, reader), operation, |rule| match operation {
            operation if operation.concerns_commands() && !rule.commands.is_empty() => Fit::Perhaps,
            _ => Fit::Yes,
        })
    }

    /// Decides about a command in `operation`, which concerns commands.
    pub fn decide_command(
        &self,
        who: &Identity,
        reader: &ReaderNames,
        operation: Operation,
        command: Command<'_>,
    ) -> Decision {
        self.first(who, self.rules_at(who, reader), operation, |rule| fit(rule, operation, command))
    }

    /// Returns the rules, or parts of them, that fit none of the `present` readers, in the order of the rules.
    pub fn unfit(&self, present: &[ReaderNames]) -> Vec<Unfit> {
        self.rules.iter().filter_map(|rule| unfit::of_rule(rule, present)).collect()
    }

    /// Whether the caller is allowed everything at every reader.
    pub fn allows_everything(&self, who: &Identity) -> bool {
        self.rules.is_empty() && self.is_owner(who)
    }

    fn is_owner(&self, who: &Identity) -> bool {
        self.owner == Some(who.principal())
    }

    /// Decides about an operation that concerns no single reader. Rules for some readers do not count.
    pub fn decide_everywhere(&self, who: &Identity, operation: Operation) -> Decision {
        let concerned = self.rules.iter().filter(|rule| rule.concerns_everywhere(who));
        self.first(who, concerned, operation, |_| Fit::Yes)
    }

    /// The rule that denies the operation to the caller at every reader that no earlier rule has denied; `None` if some
    /// reader may allow it. Without `see`, no other operation has any effect.
    pub fn denied_everywhere(&self, who: &Identity, operation: Operation) -> Option<Arc<str>> {
        if self.is_revoked(who) {
            return Some(Arc::clone(&self.no_token));
        }
        let deciding = self.rules.iter().find_map(|rule| Some((rule.effect_anywhere(who, operation)?, &rule.name)));
        match deciding {
            Some((Effect::Allow, _)) => None,
            Some((Effect::Deny, rule)) => Some(Arc::clone(rule)),
            None => (!self.allows_by_default(who, operation)).then(|| Arc::clone(&self.default_rule)),
        }
    }

    /// Whether an operation is allowed that no rule decides about.
    fn allows_by_default(&self, who: &Identity, operation: Operation) -> bool {
        let is_administrators = operation == Operation::See || operation.is_for_operators();
        let is_administrator = || matches!(who, Identity::User(account) if account.is_administrator());
        self.is_owner(who) || self.rules.is_empty() && is_administrators && is_administrator()
    }

    /// Whether the caller holds a removed token.
    fn is_revoked(&self, who: &Identity) -> bool {
        let (Identity::Token(token), Some(tokens)) = (who, &self.tokens) else { return false };
        !tokens
            .iter()
            .any(|known| known.name == token.name && (known.fingerprint == token.fingerprint || token.is_name_only()))
    }

    /// The rules that concern the caller at the reader.
    fn rules_at<'a>(&'a self, who: &'a Identity, reader: &'a ReaderNames) -> impl Iterator<Item = &'a Rule> {
        self.rules.iter().filter(|rule| rule.concerns(who, &reader.id, &reader.display_name))
    }

    /// The decision of the first of the `concerned` rules that fits, or the default.
    fn first<'a>(
        &self,
        who: &Identity,
        concerned: impl Iterator<Item = &'a Rule>,
        operation: Operation,
        fit: impl Fn(&Rule) -> Fit,
    ) -> Decision {
        if self.is_revoked(who) {
            return Decision { allowed: false, some_commands: false, rule: Arc::clone(&self.no_token), share: 1 };
        }
        for rule in concerned {
            let (allowed, some_commands) = match (rule.effect(operation), fit(rule)) {
                (None, _) | (_, Fit::No) | (Some(Effect::Deny), Fit::Perhaps) => continue,
                (Some(Effect::Deny), Fit::Yes) => (false, false),
                (Some(Effect::Allow), fit) => (true, fit == Fit::Perhaps),
            };
            return Decision { allowed, some_commands, rule: Arc::clone(&rule.name), share: rule.share };
        }
        let allowed = self.allows_by_default(who, operation);
        Decision { allowed, some_commands: false, rule: Arc::clone(&self.default_rule), share: 1 }
    }
}

fn fit(rule: &Rule, operation: Operation, command: Command<'_>) -> Fit {
    if rule.commands.is_empty() {
        return Fit::Yes;
    }
    let in_doubt = match rule.effect(operation) {
        Some(Effect::Deny) => Fit::Yes,
        Some(Effect::Allow) | None => Fit::No,
    };
    let Header::Read(header) = command.header else { return in_doubt };
    let fits = rule.commands.iter().filter(|pattern| pattern.matches_header(header)).map(|pattern| {
        let Some(wanted) = &pattern.application else { return Fit::Yes };
        match selected(wanted, command.application) {
            Fit::Perhaps if command.application != Application::Later => in_doubt,
            fit => fit,
        }
    });
    fits.fold(Fit::No, |best, fit| match (best, fit) {
        (Fit::Yes, _) | (_, Fit::Yes) => Fit::Yes,
        (Fit::No, Fit::No) => Fit::No,
        _ => Fit::Perhaps,
    })
}

fn selected(wanted: &ApplicationPattern, application: Application<'_>) -> Fit {
    match application {
        Application::Later | Application::Unknown => Fit::Perhaps,
        Application::Known(known) => match wanted.matches(known) {
            Some(true) => Fit::Yes,
            Some(false) => Fit::No,
            None => Fit::Perhaps,
        },
    }
}
