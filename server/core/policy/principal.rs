//! Principals in rules: their patterns, and the look-up of users and groups.

use serde::Serialize;

use crate::{
    caller::Identity,
    sid::Sid,
    user::{SystemGroup, SystemUser},
};

/// Looks up users and groups of the system by name. Errors say why a name means nobody.
pub trait Accounts {
    /// The user that the broker runs as. Its kind is that of all users of the system.
    fn own_user(&self) -> SystemUser;

    /// The user `name`.
    ///
    /// # Errors
    /// The user does not exist, or the look-up failed.
    fn user(&self, name: &str) -> Result<SystemUser, String>;

    /// The group `name`, and its listed members where the system has such lists (Unix).
    ///
    /// # Errors
    /// The group does not exist, or the look-up failed.
    fn group(&self, name: &str) -> Result<(SystemGroup, Vec<SystemUser>), String>;

    /// Whether the system knows this SID as one of a user, and not of a group.
    fn is_user(&self, sid: Sid) -> bool;
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
    User(SystemUser),
    /// The users whose process has this group, and the listed members.
    Group {
        group: SystemGroup,
        members: Vec<SystemUser>,
    },
    /// The user or the group with this SID.
    Sid {
        sid: Sid,
        is_user: bool,
    },
    Token(String),
}

/// The forms of a user in a rule or in a question, on the system of `accounts`.
pub fn user_forms(accounts: &impl Accounts) -> &'static str {
    if is_windows(accounts) { "user:NAME, user:DOMAIN\\NAME, sid:S-1-…" } else { "user:NAME, uid:NUMBER" }
}

fn group_forms(accounts: &impl Accounts) -> &'static str {
    if is_windows(accounts) { "group:NAME, group:DOMAIN\\NAME" } else { "group:NAME, gid:NUMBER" }
}

impl PrincipalPattern {
    /// Parses `self`, `anyone`, a user (`user:NAME`, `user:DOMAIN\NAME`, `uid:NUMBER`), `group:NAME`, `gid:NUMBER`,
    /// `sid:S-1-…` or `token:NAME`. A name may have digits only; it is no number.
    ///
    /// # Errors
    /// The text has another form, a form of another operating system, or `accounts` does not find the name.
    pub fn parse(text: String, accounts: &impl Accounts) -> Result<Self, String> {
        let who = match text.split_once(':') {
            None if text == "anyone" => Who::Anyone,
            Some(("group", name)) => {
                let (group, members) = accounts.group(name).map_err(|error| with_domain_note(error, name, accounts))?;
                Who::Group { group, members }
            }
            Some(("gid", gid)) => {
                Who::Group { group: SystemGroup::unix(number(gid, "group", accounts)?), members: Vec::new() }
            }
            Some(("sid", text)) => {
                let sid = sid(text, accounts)?;
                Who::Sid { sid, is_user: is_user(sid, accounts) }
            }
            Some(("token", name)) if !name.is_empty() => Who::Token(name.to_owned()),
            _ => Who::User(user(&text, accounts)?.ok_or_else(|| {
                let (users, groups) = (user_forms(accounts), group_forms(accounts));
                format!("`{text}` is not a principal: use self, anyone, {users}, {groups} or token:NAME")
            })?),
        };
        Ok(Self { text, who })
    }

    /// Why a rule that denies cannot name it: a process can leave its groups.
    pub(super) fn obstacle_to_deny(&self) -> Option<&'static str> {
        match self.who {
            Who::Group { .. } => Some(
                "a process can leave its group and evade a rule that denies: deny its users (\"user:alice\"), or write \
                 a rule that allows only the others",
            ),
            Who::Sid { is_user: false, .. } => Some(
                "this SID is not known as a user's, and a process can leave its group and evade a rule that denies: \
                 deny users, or write a rule that allows only the others",
            ),
            _ => None,
        }
    }

    /// Whether the caller is one of these principals.
    pub(super) fn matches(&self, identity: &Identity) -> bool {
        match (&self.who, identity) {
            (Who::Anyone, _) => true,
            (Who::User(named), Identity::User(account)) => account.user() == *named && !named.is_nobody(),
            (Who::Group { group, members }, Identity::User(account)) => {
                account.is_in(*group) || members.contains(&account.user())
            }
            (Who::Sid { sid, .. }, Identity::User(account)) => {
                account.user() == SystemUser::windows(*sid) || account.is_in(SystemGroup::windows(*sid))
            }
            (Who::Token(named), Identity::Token(token)) => **named == *token.name,
            (Who::User(_) | Who::Group { .. } | Who::Sid { .. } | Who::Token(_), _) => false,
        }
    }
}

/// Parses a user: `self`, `user:NAME`, `user:DOMAIN\NAME`, `uid:NUMBER` or `sid:S-1-…`. `None` if the text has another
/// form.
///
/// # Errors
/// It has a form of another operating system, or `accounts` does not find the name.
pub fn user(text: &str, accounts: &impl Accounts) -> Result<Option<SystemUser>, String> {
    Ok(Some(match text.split_once(':') {
        None if text == "self" => accounts.own_user(),
        Some(("user", name)) => accounts.user(name).map_err(|error| with_domain_note(error, name, accounts))?,
        Some(("uid", uid)) => SystemUser::unix(number(uid, "user", accounts)?),
        Some(("sid", text)) => SystemUser::windows(sid(text, accounts)?),
        _ => return Ok(None),
    }))
}

/// Parses the number of a `kind`: a user or a group of Unix.
fn number(text: &str, kind: &str, accounts: &impl Accounts) -> Result<u32, String> {
    if is_windows(accounts) {
        return Err(format!(
            "a {kind} of Windows has no number: use its name with its domain ({kind}:DOMAIN\\NAME), or sid:S-1-…"
        ));
    }
    // The last number is the system's own for "none", and no account's.
    let number = text.parse().ok().filter(|number| *number != u32::MAX);
    number.ok_or_else(|| format!("`{text}` is not the number of a {kind}"))
}

fn sid(text: &str, accounts: &impl Accounts) -> Result<Sid, String> {
    if !is_windows(accounts) {
        return Err("only users and groups of Windows have a SID: use user:NAME, uid:NUMBER or group:NAME".into());
    }
    text.parse().map_err(|error: crate::sid::NotASid| error.to_string())
}

/// Whether rules that deny can rely on the SID: it is a user's.
fn is_user(sid: Sid, accounts: &impl Accounts) -> bool {
    [Sid::SYSTEM, Sid::LOCAL_SERVICE, Sid::NETWORK_SERVICE].contains(&sid) || accounts.is_user(sid)
}

/// The error of a look-up of `name`. Unix knows no domains, but some systems have names that look so (winbind).
fn with_domain_note(error: String, name: &str, accounts: &impl Accounts) -> String {
    if is_windows(accounts) || !name.contains('\\') {
        return error;
    }
    format!("{error}; a domain before the name is for Windows, and for systems with such names (winbind)")
}

fn is_windows(accounts: &impl Accounts) -> bool {
    accounts.own_user().sid().is_some()
}

impl From<PrincipalPattern> for String {
    fn from(pattern: PrincipalPattern) -> Self {
        pattern.text
    }
}

#[cfg(test)]
mod tests;
