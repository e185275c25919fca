//! Rules of the policy: their effects, and the patterns of readers and commands.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, de::Error};

pub use super::operation::Operation;
use super::{pattern::Pattern, principal::PrincipalPattern};
use crate::caller::Identity;

/// One `[[rule]]` of the configuration. Exactly one of `allow` and `deny` has operations. `P` is the type of
/// principals: text in a file, and [`PrincipalPattern`] after the configuration has looked up the names
/// ([`Rule::with_principals`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule<P = PrincipalPattern> {
    /// The name in log lines and errors, 1–64 printable ASCII characters.
    #[serde(deserialize_with = "name")]
    pub name: Arc<str>,
    /// The principals that it applies to, at least one.
    pub principals: Vec<P>,
    /// The readers that it applies to; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    readers: Vec<Pattern>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    allow: Vec<Operations>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    deny: Vec<Operations>,
    /// The commands of transmit, session and `guard_override` that it applies to; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<CommandPattern>,
    /// The visits of the user in each round of the users, 1–100, for requests that the rule allows. Default: 1.
    #[serde(default = "one", deserialize_with = "share", skip_serializing_if = "is_one")]
    pub share: u8,
}

/// The maximum value of [`Rule::share`].
const MAX_SHARE: u8 = 100;

fn one() -> u8 {
    1
}

fn is_one(share: &u8) -> bool {
    *share == 1
}

fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    let share = i64::deserialize(deserializer).ok().and_then(|share| u8::try_from(share).ok());
    share
        .filter(|share| (1..=MAX_SHARE).contains(share))
        .ok_or_else(|| D::Error::custom(format!("must be a number from 1 to {MAX_SHARE}")))
}

/// The effect of a rule on its operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The rule allows its operations.
    Allow,
    /// The rule denies its operations.
    Deny,
}

impl<P> Rule<P> {
    /// Returns the rule with each principal converted.
    pub fn with_principals<Q>(self, convert: impl Fn(P) -> Q) -> Rule<Q> {
        let Self { name, principals, readers, allow, deny, commands, share } = self;
        let principals = principals.into_iter().map(convert).collect();
        Rule { name, principals, readers, allow, deny, commands, share }
    }
}

impl Rule {
    /// Whether it applies to the caller and to the reader with this id and this PC/SC name.
    pub fn concerns(&self, who: &Identity, id: &str, display_name: &str) -> bool {
        let is_named = |reader: &Pattern| reader.matches(id) || reader.matches(display_name);
        self.names(who) && (self.readers.is_empty() || self.readers.iter().any(is_named))
    }

    /// The patterns of its readers; none if it applies to all.
    pub fn readers(&self) -> &[Pattern] {
        &self.readers
    }

    /// Whether it denies its operations. If not, it allows them.
    pub fn denies(&self) -> bool {
        self.allow.is_empty()
    }

    /// The effect on the operation, whatever the reader: an allow for at least one reader, or a deny for all readers
    /// and commands; `None` for every other rule.
    pub fn effect_anywhere(&self, who: &Identity, operation: Operation) -> Option<Effect> {
        let effect = self.effect(operation).filter(|_| self.names(who));
        let is_for_all = self.readers.is_empty() && (self.commands.is_empty() || !operation.concerns_commands());
        effect.filter(|effect| *effect == Effect::Allow || is_for_all)
    }

    /// The effect on the operation; `None` if the rule does not name it.
    pub fn effect(&self, operation: Operation) -> Option<Effect> {
        if self.allow.iter().any(|named| named.allow(operation)) {
            Some(Effect::Allow)
        } else if self.deny.iter().any(|named| named.deny(operation)) {
            Some(Effect::Deny)
        } else {
            None
        }
    }

    /// Whether it applies to the caller wherever an operation concerns no single reader.
    pub fn concerns_everywhere(&self, who: &Identity) -> bool {
        self.readers.is_empty() && self.names(who)
    }

    /// Whether its principals include the caller.
    fn names(&self, who: &Identity) -> bool {
        self.principals.iter().any(|pattern| pattern.matches(who))
    }

    /// Whether it names an operation for operators.
    fn names_operators_operation(&self) -> bool {
        self.allow.iter().chain(&self.deny).filter_map(|named| named.0).any(Operation::is_for_operators)
    }

    /// The mistake that makes the rule invalid: the key and the message.
    pub fn mistake(&self) -> Option<(&'static str, &'static str)> {
        let runs_commands = self.effect(Operation::Transmit).or(self.effect(Operation::Session)).is_some();
        let concerns_commands = runs_commands || self.effect(Operation::GuardOverride).is_some();
        if self.principals.is_empty() {
            Some(("principals", "is empty: name at least one principal, such as \"user:alice\" or \"anyone\""))
        } else if self.allow.is_empty() == self.deny.is_empty() {
            Some(("name", "a rule has either `allow` or `deny`, with at least one operation"))
        } else if let Some(obstacle) = self.principals.iter().find_map(PrincipalPattern::obstacle_to_deny)
            && !self.deny.is_empty()
        {
            Some(("principals", obstacle))
        } else if !self.commands.is_empty() && !concerns_commands {
            Some(("commands", "is only for rules with transmit, session or guard_override"))
        } else if !self.commands.is_empty() && self.names_operators_operation() {
            let remedy = "cannot restrict diagnose, trace, trace_data, release, metrics or configure: name them in \
                          another rule";
            Some(("commands", remedy))
        } else if self.share > 1 && (self.allow.is_empty() || !runs_commands) {
            Some(("share", "is only for rules that allow transmit or session"))
        } else {
            None
        }
    }
}

/// One operation, or `all` as `None`: in a rule that allows, all operations on cards; in a rule that denies, every one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Operations(Option<Operation>);

impl Operations {
    const ALL: &str = "all";

    /// Whether a rule that allows these operations allows this one.
    fn allow(self, operation: Operation) -> bool {
        self.0.map_or(!operation.is_for_operators(), |one| one == operation)
    }

    /// Whether a rule that denies these operations denies this one.
    fn deny(self, operation: Operation) -> bool {
        self.0.is_none_or(|one| one == operation)
    }
}

impl TryFrom<String> for Operations {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == Self::ALL {
            return Ok(Self(None));
        }
        let one = Operation::ALL.into_iter().find(|operation| operation.as_str() == text);
        one.map(|operation| Self(Some(operation))).ok_or_else(|| {
            let allowed = Operation::ALL.map(Operation::as_str).join(", ");
            format!("`{text}` is not an operation: use all, {allowed}")
        })
    }
}

impl From<Operations> for String {
    fn from(operations: Operations) -> Self {
        operations.0.map_or(Operations::ALL, Operation::as_str).to_owned()
    }
}

/// A pattern of commands. A command matches if it agrees with every field that has a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandPattern {
    /// The class byte (CLA), by default any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    class: Option<BytePattern>,
    /// The instruction byte (INS), by default any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instruction: Option<BytePattern>,
    /// The first parameter (P1), by default any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    p1: Option<BytePattern>,
    /// The second parameter (P2), by default any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    p2: Option<BytePattern>,
    /// The beginning of the selected application's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<ApplicationPattern>,
}

impl CommandPattern {
    /// Whether the command's first four bytes match.
    pub fn matches_header(&self, header: [u8; 4]) -> bool {
        let patterns = [self.class, self.instruction, self.p1, self.p2];
        patterns.iter().zip(header).all(|(pattern, byte)| pattern.is_none_or(|pattern| pattern.matches(byte)))
    }

    /// Whether it names classes and instructions, and no application.
    pub fn names_instructions(&self) -> bool {
        self.class.is_some() && self.instruction.is_some() && self.application.is_none()
    }

    /// Whether it names this class alone.
    pub fn names_class(&self, class: u8) -> bool {
        self.class.is_some_and(|pattern| pattern.mask == 0xFF && pattern.value == class)
    }
}

/// A byte in hexadecimal, in which `x` stands for any digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct BytePattern {
    value: u8,
    mask: u8,
}

impl BytePattern {
    fn matches(self, byte: u8) -> bool {
        byte & self.mask == self.value
    }
}

impl TryFrom<String> for BytePattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digit = |letter: char| match letter {
            'x' | 'X' => Some((0, 0)),
            letter => letter.to_digit(16).map(|digit| (digit as u8, 0xF)),
        };
        let digits: Option<Vec<_>> = text.chars().map(digit).collect();
        match digits.as_deref() {
            Some(&[(high, high_mask), (low, low_mask)]) => {
                Ok(Self { value: high << 4 | low, mask: high_mask << 4 | low_mask })
            }
            _ => {
                Err(format!("`{text}` is not a byte: use two hexadecimal digits, x for any, such as \"A4\" or \"0x\""))
            }
        }
    }
}

impl From<BytePattern> for String {
    fn from(BytePattern { value, mask }: BytePattern) -> Self {
        let digit = |shift: u8| match mask >> shift & 0xF {
            0 => "x".to_owned(),
            _ => format!("{:X}", value >> shift & 0xF),
        };
        digit(4) + &digit(0)
    }
}

/// The beginning of an application's name (its AID, ISO 7816-4 §12.3.4), 1–16 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ApplicationPattern(Vec<u8>);

impl ApplicationPattern {
    /// Whether an application matches, given the `known` beginning of its name; `None` if `known` is too short.
    pub fn matches(&self, known: &[u8]) -> Option<bool> {
        if known.starts_with(&self.0) {
            Some(true)
        } else if self.0.starts_with(known) {
            None
        } else {
            Some(false)
        }
    }
}

impl TryFrom<String> for ApplicationPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bytes = hex::decode(&text).ok().filter(|bytes| (1..=16).contains(&bytes.len()));
        bytes.map(Self).ok_or_else(|| {
            format!("`{text}` is not an application: use the first 1 to 16 bytes of its identifier in hexadecimal")
        })
    }
}

impl From<ApplicationPattern> for String {
    fn from(pattern: ApplicationPattern) -> Self {
        hex::encode_upper(pattern.0)
    }
}

fn name<'de, D: Deserializer<'de>>(d: D) -> Result<Arc<str>, D::Error> {
    let allowed = |letter: char| letter.is_ascii_graphic() || letter == ' ';
    let name = String::deserialize(d).ok().filter(|name| (1..=64).contains(&name.len()) && name.chars().all(allowed));
    name.map(Into::into).ok_or_else(|| D::Error::custom("must be 1 to 64 printable ASCII characters in quotes"))
}
