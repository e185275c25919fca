//! Rules of the policy: which callers may do what at which readers.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::pattern::Pattern;
use crate::caller::Identity;

/// What may be allowed or denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// To know that the reader is there. Without it, all the others are in vain.
    See,
    /// To follow its changes.
    Watch,
    /// To run units.
    Transmit,
    /// To open sessions and run commands in them.
    Session,
    /// To ask for a reset of the card.
    Reset,
    /// To leave the card as it is at the end of a session.
    Leave,
    /// To share the card's security state with others who know the same key.
    SharedGroup,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::See, Self::Watch, Self::Transmit, Self::Session, Self::Reset, Self::Leave, Self::SharedGroup];

    /// The word for it in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::See => "see",
            Self::Watch => "watch",
            Self::Transmit => "transmit",
            Self::Session => "session",
            Self::Reset => "reset",
            Self::Leave => "leave",
            Self::SharedGroup => "shared_group",
        }
    }
}

/// One `[[rule]]` of the file. Either `allow` or `deny` names something. `P` is how it names principals: in a file as
/// text, whose names the reader of the file looks up ([`Rule::with_principals`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule<P = PrincipalPattern> {
    /// What log lines and errors call it.
    #[serde(deserialize_with = "name")]
    pub name: Arc<str>,
    /// Whom it concerns: any of these.
    pub principals: Vec<P>,
    /// At which readers: any of these; all if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    readers: Vec<Pattern>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    allow: Vec<Operations>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    deny: Vec<Operations>,
    /// Of transmit and session, these commands only; all if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<CommandPattern>,
}

/// What a rule does to the operations that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// They may be done.
    Allow,
    /// They may not.
    Deny,
}

impl<P> Rule<P> {
    /// The same rule, with each principal as `convert` returns it.
    pub fn with_principals<Q>(self, convert: impl Fn(P) -> Q) -> Rule<Q> {
        let Self { name, principals, readers, allow, deny, commands } = self;
        Rule { name, principals: principals.into_iter().map(convert).collect(), readers, allow, deny, commands }
    }
}

impl Rule {
    /// Whether it speaks of this principal and this reader, which has an id and PC/SC's name.
    pub fn concerns(&self, who: &Identity, id: &str, display_name: &str) -> bool {
        let is_named = |reader: &Pattern| reader.matches(id) || reader.matches(display_name);
        self.principals.iter().any(|pattern| pattern.matches(who))
            && (self.readers.is_empty() || self.readers.iter().any(is_named))
    }

    /// Returns what it does to this principal's sight of some reader, or, if it denies that, of all readers.
    pub fn effect_on_sight(&self, who: &Identity) -> Option<Effect> {
        let concerns = self.principals.iter().any(|pattern| pattern.matches(who));
        let effect = self.effect(Operation::See).filter(|_| concerns);
        effect.filter(|effect| *effect == Effect::Allow || self.readers.is_empty())
    }

    /// What it does to the operation, if it names it.
    pub fn effect(&self, operation: Operation) -> Option<Effect> {
        let names = |operations: &[Operations]| operations.iter().any(|named| named.include(operation));
        if names(&self.allow) {
            Some(Effect::Allow)
        } else if names(&self.deny) {
            Some(Effect::Deny)
        } else {
            None
        }
    }

    /// What keeps the rule from being used: the key at fault and why.
    pub fn mistake(&self) -> Option<(&'static str, &'static str)> {
        let runs_commands = self.effect(Operation::Transmit).or(self.effect(Operation::Session)).is_some();
        if self.principals.is_empty() {
            Some(("principals", "names nobody: name someone, such as \"user:alice\" or \"anyone\""))
        } else if self.allow.is_empty() == self.deny.is_empty() {
            Some(("name", "a rule has either `allow` or `deny`, with at least one operation"))
        } else if !self.commands.is_empty() && !runs_commands {
            Some(("commands", "goes only with transmit or session"))
        } else {
            None
        }
    }
}

/// One operation, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Operations(Option<Operation>);

impl Operations {
    const ALL: &str = "all";

    fn include(self, operation: Operation) -> bool {
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
            format!("`{text}` is no operation: allowed are all, {allowed}")
        })
    }
}

impl From<Operations> for String {
    fn from(operations: Operations) -> Self {
        operations.0.map_or(Operations::ALL, Operation::as_str).to_owned()
    }
}

/// The users and groups of the system, by the names that a configuration gives them. Errors say why there is no number.
pub trait Accounts {
    /// The user that the broker runs as.
    fn own_user(&self) -> u32;

    /// The number of the user of that name.
    ///
    /// # Errors
    /// There is no such user, or the look-up failed.
    fn user_id(&self, name: &str) -> Result<u32, String>;

    /// The number of the group of that name, and of the users who are listed as its members.
    ///
    /// # Errors
    /// There is no such group, or the look-up failed.
    fn group(&self, name: &str) -> Result<(u32, Vec<u32>), String>;
}

/// Whom a rule concerns. Names are looked up once, when the pattern is parsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct PrincipalPattern {
    text: String,
    who: Who,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Who {
    Anyone,
    User(u32),
    /// Whose primary group it is, and the users that are listed as its members.
    Group {
        gid: u32,
        members: Vec<u32>,
    },
    Token(String),
}

impl PrincipalPattern {
    /// Reads `self`, `anyone`, `user:NAME`, `uid:NUMBER`, `group:NAME`, `gid:NUMBER` or `token:NAME`.
    ///
    /// # Errors
    /// The text is none of these, or `accounts` does not know the name.
    pub fn parse(text: String, accounts: &impl Accounts) -> Result<Self, String> {
        let number = |number: &str| number.parse().map_err(|_| format!("`{number}` is no number of a user or group"));
        let who = match text.split_once(':') {
            None if text == "anyone" => Who::Anyone,
            None if text == "self" => Who::User(accounts.own_user()),
            Some(("user", name)) => Who::User(accounts.user_id(name)?),
            Some(("uid", uid)) => Who::User(number(uid)?),
            Some(("group", name)) => {
                let (gid, members) = accounts.group(name)?;
                Who::Group { gid, members }
            }
            Some(("gid", gid)) => Who::Group { gid: number(gid)?, members: Vec::new() },
            Some(("token", name)) if !name.is_empty() => Who::Token(name.to_owned()),
            _ => {
                return Err(format!(
                    "`{text}` is nobody: say self, anyone, user:NAME, uid:NUMBER, group:NAME, gid:NUMBER or token:NAME"
                ));
            }
        };
        Ok(Self { text, who })
    }

    fn matches(&self, identity: &Identity) -> bool {
        match (&self.who, identity) {
            (Who::Anyone, _) => true,
            (Who::User(named), Identity::User { uid, .. }) => named == uid,
            (Who::Group { gid: named, members }, Identity::User { uid, gid }) => named == gid || members.contains(uid),
            (Who::Token(named), Identity::Token(token)) => **named == *token.name,
            (Who::User(_) | Who::Group { .. }, Identity::Token(_)) | (Who::Token(_), Identity::User { .. }) => false,
        }
    }
}

impl From<PrincipalPattern> for String {
    fn from(pattern: PrincipalPattern) -> Self {
        pattern.text
    }
}

/// Which commands a rule concerns: those that agree with all that is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandPattern {
    /// CLA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    class: Option<BytePattern>,
    /// INS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instruction: Option<BytePattern>,
    /// P1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    p1: Option<BytePattern>,
    /// P2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    p2: Option<BytePattern>,
    /// What the name of the selected application begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<ApplicationPattern>,
}

impl CommandPattern {
    /// Whether the command's first four bytes agree.
    pub fn matches_header(&self, header: [u8; 4]) -> bool {
        let patterns = [self.class, self.instruction, self.p1, self.p2];
        patterns.iter().zip(header).all(|(pattern, byte)| pattern.is_none_or(|pattern| pattern.matches(byte)))
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
            _ => Err(format!("`{text}` is no byte: two hexadecimal digits, x for any, such as \"A4\" or \"0x\"")),
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
    /// Whether an application whose name begins with `known` has a name that begins with this; `None` if too little is known.
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
            format!("`{text}` is no application: the first 1 to 16 bytes of its identifier in hexadecimal")
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
