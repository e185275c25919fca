//! The policy: which caller may do what at which reader, decided by the first rule that matches. The default comes after
//! the last rule: the broker's own user may do everything, nobody else anything.
//!
//! What a card has selected is known only from its own answers. Where that matters and is not known, a rule that allows
//! does not fit, and one that denies does. The same holds for a command whose bytes cannot be read, wherever a rule
//! names commands.

pub mod pattern;
pub mod rule;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::rule::{ApplicationPattern, Effect, Operation, Rule};
use crate::{
    apdu::Header,
    caller::{Identity, Principal, TokenId},
};

/// The name of the rule behind the last one.
const DEFAULT_RULE: &str = "default";
/// What denies everything to those whose token has been taken away.
const NO_TOKEN: &str = "no such token";

/// A reader, by the names that rules know it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderNames {
    /// Without `readers/`.
    pub id: String,
    /// PC/SC's name.
    pub display_name: String,
}

/// What may be known of the application that is selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Application<'a> {
    /// The turn has not come: it may be any.
    Later,
    /// The card has not told.
    Unknown,
    /// Its name begins so.
    Known(&'a [u8]),
}

/// A command, as far as rules look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command<'a> {
    /// Which command it is.
    pub header: Header,
    /// What is selected on its logical channel.
    pub application: Application<'a>,
}

/// The rules for the commands of one request, as they are at one moment.
#[derive(Debug, Clone, Copy)]
pub struct CommandRules<'a> {
    /// The policy at that moment.
    pub policy: &'a Policy,
    /// The caller that the request came from.
    pub caller: &'a Identity,
    /// The reader that the request is about.
    pub reader: &'a ReaderNames,
    /// [`Operation::Transmit`] or [`Operation::Session`].
    pub operation: Operation,
}

impl CommandRules<'_> {
    /// Whether the command may be sent.
    pub fn decide(&self, command: Command<'_>) -> Decision {
        self.policy.decide_command(self.caller, self.reader, self.operation, command)
    }
}

/// What the policy says, and by which rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may be done.
    pub allowed: bool,
    /// Whether it depends on the command: some may be sent.
    pub some_commands: bool,
    /// The name of the rule.
    pub rule: Arc<str>,
}

/// Whether a rule speaks of what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    Yes,
    No,
    /// It depends on what comes later.
    Perhaps,
}

/// The rules in force.
#[derive(Debug, Clone)]
pub struct Policy {
    rules: Vec<Rule>,
    owner: Principal,
    /// The tokens that there are, if that is known.
    tokens: Option<Vec<TokenId>>,
    default_rule: Arc<str>,
    no_token: Arc<str>,
    revision: u64,
}

impl Policy {
    /// The policy of `rules`, for a broker of the user `own_uid`.
    pub fn new(rules: Vec<Rule>, own_uid: u32) -> Self {
        let owner = Principal::User(own_uid);
        let (default_rule, no_token) = (DEFAULT_RULE.into(), NO_TOKEN.into());
        Self { rules, owner, tokens: None, default_rule, no_token, revision: 0 }
    }

    /// The same, but for these tokens only: who came with another one, which has been taken away since, may do nothing.
    pub fn with_tokens(self, tokens: impl IntoIterator<Item = TokenId>) -> Self {
        Self { tokens: Some(tokens.into_iter().collect()), ..self }
    }

    /// The same rules, as the policy of that revision.
    pub fn with_revision(self, revision: u64) -> Self {
        Self { revision, ..self }
    }

    /// The number of policies in force before this one in this run of the broker. The broker counts them.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether the operation may be done. For transmit and session: whether any command may be sent by it.
    pub fn decide(&self, who: &Identity, reader: &ReaderNames, operation: Operation) -> Decision {
        self.first(who, reader, operation, |rule| match operation {
            Operation::Transmit | Operation::Session if !rule.commands.is_empty() => Fit::Perhaps,
            _ => Fit::Yes,
        })
    }

    /// Whether the command may be sent, by transmit or in a session.
    pub fn decide_command(
        &self,
        who: &Identity,
        reader: &ReaderNames,
        operation: Operation,
        command: Command<'_>,
    ) -> Decision {
        self.first(who, reader, operation, |rule| fit(rule, operation, command))
    }

    /// Whether there is nothing that this principal could be denied anywhere.
    pub fn allows_everything(&self, who: &Identity) -> bool {
        self.rules.is_empty() && who.principal() == self.owner
    }

    /// Whether there may be a reader that this principal may see. Without that, no other operation has any effect.
    pub fn grants_anything(&self, who: &Identity) -> bool {
        let may_see = self.rules.iter().find_map(|rule| rule.effect_on_sight(who));
        !self.is_revoked(who) && may_see.map_or_else(|| who.principal() == self.owner, |effect| effect == Effect::Allow)
    }

    /// Whether it is the holder of a token that has been taken away.
    fn is_revoked(&self, who: &Identity) -> bool {
        let (Identity::Token(token), Some(tokens)) = (who, &self.tokens) else { return false };
        !tokens
            .iter()
            .any(|known| known.name == token.name && (known.fingerprint == token.fingerprint || token.is_name_only()))
    }

    fn first(
        &self,
        who: &Identity,
        reader: &ReaderNames,
        operation: Operation,
        fit: impl Fn(&Rule) -> Fit,
    ) -> Decision {
        if self.is_revoked(who) {
            return Decision { allowed: false, some_commands: false, rule: Arc::clone(&self.no_token) };
        }
        let concerned = self.rules.iter().filter(|rule| rule.concerns(who, &reader.id, &reader.display_name));
        for rule in concerned {
            let (allowed, some_commands) = match (rule.effect(operation), fit(rule)) {
                (None, _) | (_, Fit::No) | (Some(Effect::Deny), Fit::Perhaps) => continue,
                (Some(Effect::Deny), Fit::Yes) => (false, false),
                (Some(Effect::Allow), fit) => (true, fit == Fit::Perhaps),
            };
            return Decision { allowed, some_commands, rule: Arc::clone(&rule.name) };
        }
        let allowed = who.principal() == self.owner;
        Decision { allowed, some_commands: false, rule: Arc::clone(&self.default_rule) }
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
