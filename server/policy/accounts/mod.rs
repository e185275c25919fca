//! Users and groups of this machine: this process's own, and those named in a configuration, in `policy check` and for
//! operators.
//!
//! The look-ups are the operating system's, in one file for each, with the same functions.

#[cfg(unix)]
#[path = "unix.rs"]
mod look_up;
#[cfg(windows)]
#[path = "windows.rs"]
mod look_up;

use cardbroker_core::{
    caller::Identity,
    policy::principal::{Accounts, user, user_forms},
    sid::Sid,
    user::{Account, SystemGroup, SystemUser},
};

#[cfg(windows)]
pub(crate) use look_up::account_of;
pub(crate) use look_up::{command_for_new_group, group, own_account, user_name};

/// The accounts of this machine, by the system's own look-up, which may query a directory server.
pub(crate) struct SystemAccounts;

impl Accounts for SystemAccounts {
    fn own_user(&self) -> SystemUser {
        own_user()
    }

    fn user(&self, name: &str) -> Result<SystemUser, String> {
        match look_up::user(name) {
            Ok(Some(user)) => Ok(user),
            Ok(None) => Err(format!("there is no user `{name}`: use another name, or {}", look_up::OTHER_USER_FORM)),
            Err(error) => Err(format!("cannot look up user `{name}`: {error}")),
        }
    }

    fn group(&self, name: &str) -> Result<(SystemGroup, Vec<SystemUser>), String> {
        match look_up::group(name) {
            Ok(Some(group)) => Ok(group),
            Ok(None) => Err(format!("there is no group `{name}`: use another name, or {}", look_up::OTHER_GROUP_FORM)),
            Err(error) => Err(format!("cannot look up group `{name}`: {error}")),
        }
    }

    fn is_user(&self, sid: Sid) -> bool {
        look_up::is_user(sid)
    }
}

/// The user that this process runs as.
pub(crate) fn own_user() -> SystemUser {
    own_account().user()
}

/// Parses a caller: `self`, a user or `token:NAME`. A user gets the groups that the system tells: on Unix the primary
/// group of the account, on Windows those of this process if the user is its own, and none else.
///
/// # Errors
/// The text has another form, or the user does not exist.
pub fn identity(text: &str) -> Result<Identity, String> {
    if let Some(name) = text.strip_prefix("token:").filter(|name| !name.is_empty()) {
        return Ok(Identity::Token(name.into()));
    }
    let user = user(text, &SystemAccounts)?.ok_or_else(|| {
        format!("`{text}` is not a principal: use self, {} or token:NAME", user_forms(&SystemAccounts))
    })?;
    let account = look_up::account(user).map_err(|error| format!("cannot look up user {user}: {error}"))?;
    Ok(Identity::User(account))
}

/// The account of a user of whom the system tells no group: on Unix the group with the user's own number, as new users
/// get one.
fn without_known_groups(user: SystemUser) -> Account {
    match (user.uid(), user.sid()) {
        (Some(uid), _) => Account::unix(uid, uid),
        (None, sid) => Account::windows(sid.unwrap_or(Sid::NOBODY), []),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_this_process_is_found_by_its_name() {
        let group = nix::unistd::Group::from_gid(nix::unistd::getgid()).unwrap().unwrap();
        assert_eq!(SystemAccounts.group(&group.name).unwrap().0, SystemGroup::unix(group.gid.as_raw()));
        let told = SystemAccounts.group("no such group").unwrap_err();
        assert_eq!(told, "there is no group `no such group`: use another name, or its number (gid:1000)");
    }

    #[test]
    fn a_question_names_a_user_in_each_form() {
        for text in ["user:root", "uid:0"] {
            assert_eq!(identity(text), Ok(Identity::User(Account::unix(0, 0))), "{text}");
        }
        assert_eq!(identity("uid:4000001"), Ok(Identity::User(Account::unix(4_000_001, 4_000_001))), "no account");
        assert_eq!(identity("self").map(|who| who.principal().to_string()), Ok(format!("user {}", own_user())));
        assert_eq!(identity("token:a"), Ok(Identity::Token("a".into())));
        for (text, words) in [
            ("user:nobody-of-that-name", "there is no user `nobody-of-that-name`: use another name, or its number"),
            (
                "user:NOWHERE\\anna",
                "there is no user `NOWHERE\\anna`: use another name, or its number (uid:1000); a domain",
            ),
            ("user:4000001", "there is no user `4000001`: use another name, or its number (uid:"),
            ("sid:S-1-5-18", "only users and groups of Windows have a SID"),
            ("token:", "`token:` is not a principal: use self, user:NAME, uid:NUMBER or token:NAME"),
            ("group:root", "`group:root` is not a principal"),
            ("anyone", "`anyone` is not a principal"),
        ] {
            let told = identity(text).unwrap_err();
            assert!(told.starts_with(words), "{text}: {told}");
        }
    }

    #[test]
    fn users_of_another_system_have_no_name_and_no_groups_here() {
        let system = SystemUser::windows(Sid::SYSTEM);
        assert_eq!(user_name(system), None);
        assert_eq!(look_up::account(system).unwrap(), Account::windows(Sid::SYSTEM, []));
        assert!(!look_up::is_user(Sid::SYSTEM));
        assert_eq!(user_name(SystemUser::unix(0)).as_deref(), Some("root"));
    }
}
