//! Principals in rules: their patterns, and the look-up of users and groups.

use serde::Serialize;

use crate::caller::Identity;

/// Looks up users and groups of the system by name. Errors say why a name has no number.
pub trait Accounts {
    /// The id of the user that the broker runs as.
    fn own_user(&self) -> u32;

    /// The id of the user `name`.
    ///
    /// # Errors
    /// The user does not exist, or the look-up failed.
    fn user_id(&self, name: &str) -> Result<u32, String>;

    /// The id of the group `name`, and the user ids of its listed members.
    ///
    /// # Errors
    /// The group does not exist, or the look-up failed.
    fn group(&self, name: &str) -> Result<(u32, Vec<u32>), String>;
}

/// A pattern of principals in a rule. Names are looked up once, when the pattern is parsed.
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
    /// The users with this primary group, and the listed members.
    Group {
        gid: u32,
        members: Vec<u32>,
    },
    Token(String),
}

impl PrincipalPattern {
    /// Parses `self`, `anyone`, `user:NAME`, `uid:NUMBER`, `group:NAME`, `gid:NUMBER` or `token:NAME`.
    ///
    /// # Errors
    /// The text has another form, or `accounts` does not find the name.
    pub fn parse(text: String, accounts: &impl Accounts) -> Result<Self, String> {
        let number =
            |number: &str| number.parse().map_err(|_| format!("`{number}` is not the number of a user or group"));
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
                    "`{text}` is not a principal: use self, anyone, user:NAME, uid:NUMBER, group:NAME, gid:NUMBER or \
                     token:NAME"
                ));
            }
        };
        Ok(Self { text, who })
    }

    /// Whether it is a group, whose members can leave it.
    pub(super) fn is_group(&self) -> bool {
        matches!(self.who, Who::Group { .. })
    }

    /// Whether the caller is one of these principals.
    pub(super) fn matches(&self, identity: &Identity) -> bool {
        match (&self.who, identity) {
            (Who::Anyone, _) => true,
            (Who::User(named), Identity::User { uid, .. }) => named == uid,
            (Who::Group { gid: named, members }, Identity::User { uid, gid }) => named == gid || members.contains(uid),
            (Who::Token(named), Identity::Token(token)) => **named == *token.name,
            (Who::User(_) | Who::Group { .. } | Who::Token(_), _) => false,
        }
    }
}

impl From<PrincipalPattern> for String {
    fn from(pattern: PrincipalPattern) -> Self {
        pattern.text
    }
}
