//! Users and groups of Windows, by their SIDs.

use std::io;

use cardbroker_core::{
    sid::Sid,
    user::{Account, SystemGroup, SystemUser},
};
use cardbroker_pipe::{AccountKind, Identity, account_named, account_with, own_identity};

use super::without_known_groups;

/// Another form of a user that has no such name.
pub(super) const OTHER_USER_FORM: &str = "its SID (sid:S-1-…)";
/// Another form of a group that has no such name.
pub(super) const OTHER_GROUP_FORM: &str = "its SID (sid:S-1-…)";

/// The system's own users, which the system lists as groups.
const SERVICES: [Sid; 3] = [Sid::SYSTEM, Sid::LOCAL_SERVICE, Sid::NETWORK_SERVICE];

/// The user of this process and its enabled groups. If the system does not tell them, nobody: then no caller is taken
/// for the broker's own user.
pub(crate) fn own_account() -> Account {
    let own = own_identity().ok().and_then(|identity| account_of(&identity));
    own.unwrap_or_else(|| Account::windows(Sid::NOBODY, []))
}

/// The account of an access token; `None` if the user's SID has another form than those of Windows.
pub(crate) fn account_of(identity: &Identity) -> Option<Account> {
    // A group of another form is no group that a rule could name.
    let groups = identity.groups.iter().filter_map(parsed);
    Some(Account::windows(parsed(&identity.user)?, groups))
}

fn parsed(sid: &cardbroker_pipe::Sid) -> Option<Sid> {
    sid.as_str().parse().ok()
}

/// The account with this SID, as the system's functions name it.
fn look_up(sid: Sid) -> io::Result<Option<(String, AccountKind)>> {
    account_with(&sid.to_string().parse().map_err(io::Error::other)?)
}

/// The SID of an account of a name, and whether it is a user's; `None` if no process acts for such an account.
fn found(name: &str) -> io::Result<Option<(Sid, bool)>> {
    let found = account_named(name)?.and_then(|(sid, kind)| Some((parsed(&sid)?, kind)));
    Ok(found.and_then(|(sid, kind)| match kind {
        AccountKind::User => Some((sid, true)),
        AccountKind::Group => Some((sid, SERVICES.contains(&sid))),
        AccountKind::Other => None,
    }))
}

/// The user `NAME` or `DOMAIN\NAME`.
pub(super) fn user(name: &str) -> io::Result<Option<SystemUser>> {
    Ok(found(name)?.filter(|(_, is_user)| *is_user).map(|(sid, _)| SystemUser::windows(sid)))
}

/// The name of a user, with the domain or the machine in front.
pub(crate) fn user_name(user: SystemUser) -> Option<String> {
    look_up(user.sid()?).ok()?.map(|(name, _)| name)
}

/// The user with the groups of this process if it is its own; the system does not tell the groups of another one
/// without a process.
pub(super) fn account(user: SystemUser) -> io::Result<Account> {
    let own = own_account();
    Ok(if own.user() == user { own } else { without_known_groups(user) })
}

/// The group `NAME` or `DOMAIN\NAME`. Its members have it in their tokens, so none are listed.
pub(crate) fn group(name: &str) -> io::Result<Option<(SystemGroup, Vec<SystemUser>)>> {
    Ok(found(name)?.filter(|(_, is_user)| !is_user).map(|(sid, _)| (SystemGroup::windows(sid), Vec::new())))
}

/// The command that makes a group of this name.
pub(crate) fn command_for_new_group(name: &str) -> String {
    format!("net localgroup {name} /add")
}

/// Whether the system knows this SID as a user's.
pub(super) fn is_user(sid: Sid) -> bool {
    SERVICES.contains(&sid) || look_up(sid).is_ok_and(|found| found.is_some_and(|(_, kind)| kind == AccountKind::User))
}

#[cfg(test)]
mod tests {
    use cardbroker_core::{caller::Identity, policy::principal::Accounts};

    use super::{super::*, *};

    const EVERYONE: &str = "S-1-1-0";

    fn named(sid: &str) -> String {
        user_name(SystemUser::windows(sid.parse().unwrap())).unwrap()
    }

    #[test]
    fn the_own_user_is_found_by_its_name_and_its_sid() {
        let (own, sid) = (own_user(), own_user().sid().unwrap());
        assert!(sid.to_string().starts_with("S-1-5-") && is_user(sid), "{sid}");
        assert_eq!(user_name(own).map(|name| SystemAccounts.user(&name)), Some(Ok(own)));
        let account = own_account();
        assert!(account.is_in(SystemGroup::windows(EVERYONE.parse().unwrap())));
        for text in ["self".to_owned(), format!("sid:{own}"), format!("user:{}", user_name(own).unwrap())] {
            assert_eq!(identity(&text), Ok(Identity::User(account.clone())), "{text}");
        }
    }

    #[test]
    fn groups_and_services_are_told_apart() {
        let group = SystemAccounts.group(&named(EVERYONE)).unwrap();
        assert_eq!(group, (SystemGroup::windows(EVERYONE.parse().unwrap()), Vec::new()));
        assert!(SystemAccounts.user(&named(EVERYONE)).is_err() && !is_user(EVERYONE.parse().unwrap()));
        let system = named("S-1-5-18");
        assert_eq!(SystemAccounts.user(&system), Ok(SystemUser::windows(Sid::SYSTEM)));
        assert!(SystemAccounts.group(&system).is_err() && is_user(Sid::SYSTEM));
        assert!(!is_user(Sid::ADMINISTRATORS) && !is_user("S-1-5-21-1-2-3-4".parse().unwrap()));
    }

    #[test]
    fn other_names_are_refused_with_a_form_that_works() {
        for (text, words) in [
            ("user:no such user", "there is no user `no such user`: use another name, or its SID (sid:S-1-…)"),
            ("user:1000", "there is no user `1000`: use another name, or its SID"),
            ("uid:0", "a user of Windows has no number: use its name with its domain (user:DOMAIN\\NAME)"),
        ] {
            let told = identity(text).unwrap_err();
            assert!(told.starts_with(words), "{text}: {told}");
        }
        let told = SystemAccounts.group("no such group").unwrap_err();
        assert_eq!(told, "there is no group `no such group`: use another name, or its SID (sid:S-1-…)");
        let stranger = SystemUser::windows("S-1-5-21-1-2-3-4".parse().unwrap());
        assert_eq!((user_name(stranger), account(stranger).unwrap()), (None, without_known_groups(stranger)));
    }
}
