//! Each form of a principal, with good and bad input, on both operating systems; and random principals against random
//! callers.

use proptest::{prelude::*, sample::select};

use super::*;
use crate::{caller::Caller, properties::holds, user::Account};

const OWN: &str = "S-1-5-21-1-2-3-1000";
const ALICE: &str = "S-1-5-21-1-2-3-1001";
const BOB: &str = "S-1-5-21-1-2-3-1002";
const STAFF: &str = "S-1-5-21-1-2-3-1050";

fn sid_of(text: &str) -> Sid {
    text.parse().unwrap()
}

fn windows_user(text: &str) -> SystemUser {
    SystemUser::windows(sid_of(text))
}

/// A system with a few accounts.
#[derive(Debug, Clone, Copy)]
enum System {
    Unix,
    Windows,
}

use System::{Unix, Windows};

impl Accounts for System {
    fn own_user(&self) -> SystemUser {
        match self {
            Unix => SystemUser::unix(1000),
            Windows => windows_user(OWN),
        }
    }

    fn user(&self, name: &str) -> Result<SystemUser, String> {
        match (self, name) {
            (Unix, "alice" | "CORP\\alice") => Ok(SystemUser::unix(1001)),
            // A login of digits only, which is not the user of this number.
            (Unix, "1001") => Ok(SystemUser::unix(1002)),
            (Windows, "alice" | "CORP\\alice") => Ok(windows_user(ALICE)),
            _ => Err(format!("there is no user `{name}`")),
        }
    }

    fn group(&self, name: &str) -> Result<(SystemGroup, Vec<SystemUser>), String> {
        match (self, name) {
            (Unix, "staff") => Ok((SystemGroup::unix(50), vec![SystemUser::unix(1002)])),
            (Unix, "50") => Ok((SystemGroup::unix(60), Vec::new())),
            (Windows, "staff" | "CORP\\staff") => Ok((SystemGroup::windows(sid_of(STAFF)), Vec::new())),
            _ => Err(format!("there is no group `{name}`")),
        }
    }

    fn is_user(&self, sid: Sid) -> bool {
        [OWN, ALICE, BOB].contains(&&*sid.to_string())
    }
}

fn parse(system: System, text: &str) -> Result<PrincipalPattern, String> {
    PrincipalPattern::parse(text.to_owned(), &system)
}

/// The callers of each system: the owner, alice in staff, bob.
fn callers(system: System) -> [Identity; 3] {
    let accounts = match system {
        Unix => [Account::unix(1000, 1000), Account::unix(1001, 50), Account::unix(1002, 60)],
        Windows => [
            Account::windows(sid_of(OWN), []),
            Account::windows(sid_of(ALICE), [sid_of("S-1-5-32-545"), sid_of(STAFF)]),
            Account::windows(sid_of(BOB), [sid_of("S-1-5-32-545")]),
        ],
    };
    accounts.map(Identity::User)
}

#[test]
fn each_form_matches_its_principals() {
    for (system, text, expected) in [
        (Unix, "self", [true, false, false]),
        (Unix, "user:alice", [false, true, false]),
        (Unix, "user:CORP\\alice", [false, true, false]),
        (Unix, "user:1001", [false, false, true]),
        (Unix, "group:50", [false, false, true]),
        (Unix, "uid:1002", [false, false, true]),
        (Unix, "gid:50", [false, true, false]),
        // By the process's group, and by the list of members.
        (Unix, "group:staff", [false, true, true]),
        (Unix, "anyone", [true, true, true]),
        (Unix, "token:alice", [false, false, false]),
        (Windows, "self", [true, false, false]),
        (Windows, "user:alice", [false, true, false]),
        (Windows, "user:CORP\\alice", [false, true, false]),
        (Windows, "group:CORP\\staff", [false, true, false]),
        (Windows, "sid:S-1-5-21-1-2-3-1001", [false, true, false]),
        (Windows, "sid:s-1-5-21-1-2-3-1002", [false, false, true]),
        (Windows, "sid:S-1-5-32-545", [false, true, true]),
        (Windows, "sid:S-1-5-18", [false, false, false]),
        (Windows, "anyone", [true, true, true]),
    ] {
        let pattern = parse(system, text).unwrap();
        assert_eq!(callers(system).map(|who| pattern.matches(&who)), expected, "{system:?} {text}");
        assert!(matches!(text, "anyone") || !pattern.matches(&Identity::Unknown), "{text}");
        assert_eq!(pattern.matches(&Identity::Token("alice".into())), ["anyone", "token:alice"].contains(&text));
        assert_eq!(String::from(pattern), text, "the text is unchanged");
    }
}

#[test]
fn forms_of_another_system_are_refused_in_words() {
    for (system, text, words) in [
        (Unix, "sid:S-1-5-18", "only users and groups of Windows have a SID: use user:NAME, uid:NUMBER or group:NAME"),
        (Unix, "sid:x", "only users and groups of Windows have a SID"),
        (
            Unix,
            "user:CORP\\bob",
            "there is no user `CORP\\bob`; a domain before the name is for Windows, and for systems",
        ),
        (Unix, "group:CORP\\staff", "there is no group `CORP\\staff`; a domain before the name is for Windows"),
        (Windows, "uid:1001", "a user of Windows has no number: use its name with its domain (user:DOMAIN\\NAME), or"),
        (Windows, "gid:50", "a group of Windows has no number: use its name with its domain (group:DOMAIN\\NAME), or"),
    ] {
        let told = parse(system, text).unwrap_err();
        assert!(told.starts_with(words), "{system:?} {text}: {told}");
    }
}

#[test]
fn self_of_an_unknown_user_matches_nobody() {
    struct Unknown;
    impl Accounts for Unknown {
        fn own_user(&self) -> SystemUser {
            SystemUser::windows(Sid::NOBODY)
        }

        fn user(&self, _: &str) -> Result<SystemUser, String> {
            Err(String::new())
        }

        fn group(&self, _: &str) -> Result<(SystemGroup, Vec<SystemUser>), String> {
            Err(String::new())
        }

        fn is_user(&self, _: Sid) -> bool {
            false
        }
    }
    let pattern = PrincipalPattern::parse("self".to_owned(), &Unknown).unwrap();
    assert!(!pattern.matches(&Identity::User(Account::windows(Sid::NOBODY, []))));
}

#[test]
fn bad_input_is_refused_on_both_systems() {
    for (system, text, words) in [
        (Unix, "user:bob", "there is no user `bob`"),
        (Unix, "user:", "there is no user ``"),
        (Unix, "user:1000", "there is no user `1000`"),
        (Unix, "group:1000", "there is no group `1000`"),
        (Unix, "uid:4294967296", "`4294967296` is not the number of a user"),
        // What the system says for "none".
        (Unix, "uid:4294967295", "`4294967295` is not the number of a user"),
        (Unix, "gid:4294967295", "`4294967295` is not the number of a group"),
        (Unix, "user:-1", "there is no user `-1`"),
        (Unix, "uid:alice", "`alice` is not the number of a user"),
        (Unix, "gid:", "`` is not the number of a group"),
        (Unix, "group:writers", "there is no group `writers`"),
        (Windows, "user:CORP\\bob", "there is no user `CORP\\bob`"),
        (Windows, "sid:S-1-5", "`S-1-5` is not a SID: use S-1-"),
        (Windows, "sid:CORP\\alice", "`CORP\\alice` is not a SID"),
    ] {
        let told = parse(system, text).unwrap_err();
        assert!(told.starts_with(words) && !told.contains("winbind"), "{system:?} {text}: {told}");
    }
    for (system, forms) in [
        (Unix, "user:NAME, uid:NUMBER, group:NAME, gid:NUMBER or token:NAME"),
        (Windows, "user:NAME, user:DOMAIN\\NAME, sid:S-1-…, group:NAME, group:DOMAIN\\NAME or token:NAME"),
    ] {
        for text in ["", "alice", "token:", "role:admin", "S-1-5-18", "CORP\\alice", "self:", "SID:S-1-5-18"] {
            let told = parse(system, text).unwrap_err();
            assert_eq!(told, format!("`{text}` is not a principal: use self, anyone, {forms}"));
        }
    }
}

#[test]
fn rules_that_deny_name_users_only() {
    let obstacle = |system, text| parse(system, text).unwrap().obstacle_to_deny();
    for (system, text) in [
        (Unix, "user:alice"),
        (Unix, "anyone"),
        (Unix, "token:a"),
        (Windows, "user:alice"),
        (Windows, "sid:S-1-5-21-1-2-3-1001"),
        (Windows, "sid:S-1-5-18"),
    ] {
        assert_eq!(obstacle(system, text), None, "{system:?} {text}");
    }
    for (system, text, words) in [
        (Unix, "group:staff", "a process can leave its group"),
        (Unix, "gid:50", "a process can leave its group"),
        (Windows, "group:staff", "a process can leave its group"),
        (Windows, "sid:S-1-5-32-545", "this SID is not known as a user's"),
        (Windows, "sid:S-1-5-21-1-2-3-9999", "this SID is not known as a user's"),
    ] {
        assert!(obstacle(system, text).is_some_and(|told| told.starts_with(words)), "{system:?} {text}");
    }
}

#[test]
fn a_question_names_one_user() {
    for (system, text, expected) in [
        (Unix, "self", Ok(Some(SystemUser::unix(1000)))),
        (Unix, "user:1001", Ok(Some(SystemUser::unix(1002)))),
        (Unix, "uid:1001", Ok(Some(SystemUser::unix(1001)))),
        (Unix, "uid:7", Ok(Some(SystemUser::unix(7)))),
        (Unix, "uid:4294967294", Ok(Some(SystemUser::unix(4_294_967_294)))),
        (Windows, "user:CORP\\alice", Ok(Some(windows_user(ALICE)))),
        (Windows, "sid:S-1-5-18", Ok(Some(SystemUser::windows(Sid::SYSTEM)))),
        (Unix, "anyone", Ok(None)),
        (Unix, "group:staff", Ok(None)),
        (Windows, "user:bob", Err("there is no user `bob`".to_owned())),
    ] {
        assert_eq!(user(text, &system), expected, "{system:?} {text}");
    }
}

/// A number of a user or a group, and the text that names it on each system.
fn named(system: System, kind: &str, number: u32) -> String {
    match (system, kind) {
        (Windows, _) => format!("sid:S-1-5-21-1-2-3-{number}"),
        (Unix, kind) => format!("{kind}:{number}"),
    }
}

#[test]
fn a_pattern_matches_its_user_and_its_group_and_nobody_else() {
    let numbers = || (0u32..4, 4u32..8);
    let cases = (select(vec![Unix, Windows]), select(vec![Unix, Windows]), numbers(), numbers());
    holds(500, cases, |(ruled, calling, (user, group), (named_user, named_group))| {
        let account = match calling {
            Unix => Account::unix(user, group),
            Windows => {
                let of = |number| sid_of(&format!("S-1-5-21-1-2-3-{number}"));
                Account::windows(of(user), [of(group), of(99)])
            }
        };
        let caller = Caller::local(1, account, None, None);
        let is_same_system = matches!((ruled, calling), (Unix, Unix) | (Windows, Windows));
        for (kind, number, expected) in
            [("uid", named_user, named_user == user), ("gid", named_group, named_group == group)]
        {
            let pattern = parse(ruled, &named(ruled, kind, number)).unwrap();
            prop_assert_eq!(pattern.matches(&caller.identity), is_same_system && expected, "{:?}", pattern);
        }
        Ok(())
    });
}
