//! Decisions of the policy, in tables.

use super::{
    principal::{Accounts, PrincipalPattern},
    *,
};
use crate::{
    sid::Sid,
    user::{Account, SystemGroup},
};

const OWN_USER: SystemUser = SystemUser::unix(1000);
const OWNER: Identity = Identity::User(Account::unix(1000, 1000));
const ALICE: Identity = Identity::User(Account::unix(1001, 50));
const ROOT: Identity = Identity::User(Account::unix(0, 0));
const BOB: Identity = Identity::User(Account::unix(1002, 60));

fn ci() -> Identity {
    Identity::Token("ci".into())
}

/// A system with the user and the group that the tests name.
struct Known;

impl Accounts for Known {
    fn own_user(&self) -> SystemUser {
        OWN_USER
    }

    fn user(&self, name: &str) -> Result<SystemUser, String> {
        (name == "alice").then_some(SystemUser::unix(1001)).ok_or_else(|| format!("no user {name}"))
    }

    fn group(&self, name: &str) -> Result<(SystemGroup, Vec<SystemUser>), String> {
        let readers = (SystemGroup::unix(50), vec![SystemUser::unix(1002)]);
        (name == "readers").then_some(readers).ok_or_else(|| format!("no group {name}"))
    }

    fn is_user(&self, _: Sid) -> bool {
        false
    }
}

#[derive(serde::Deserialize)]
struct Rules {
    rule: Vec<Rule<String>>,
}

/// The policy of these rules in TOML.
pub(crate) fn policy(rules: &str) -> Policy {
    let Rules { rule } = toml::from_str(rules).unwrap();
    let resolved = |rule: Rule<String>| rule.with_principals(|text| PrincipalPattern::parse(text, &Known).unwrap());
    Policy::new(rule.into_iter().map(resolved).collect(), OWN_USER)
}

fn reader(id: &str) -> ReaderNames {
    ReaderNames { id: id.into(), display_name: format!("Vendor {id} 00 00") }
}

/// Formats a decision: `+rule` if it allows, `-rule` if it denies.
fn text(decision: Decision) -> String {
    format!("{}{}", if decision.allowed { '+' } else { '-' }, decision.rule)
}

fn decided(policy: &Policy, who: &Identity, id: &str, operation: Operation) -> String {
    text(policy.decide(who, &reader(id), operation))
}

fn command(policy: &Policy, header: [u8; 4], application: Application<'_>) -> String {
    judged(policy, Header::Read(header), application)
}

fn judged(policy: &Policy, header: Header, application: Application<'_>) -> String {
    text(policy.decide_command(&ALICE, &reader("desk"), Operation::Transmit, Command { header, application }))
}

#[test]
fn without_rules_the_brokers_own_user_is_allowed_and_root_may_diagnose() {
    let policy = Policy::new(Vec::new(), OWN_USER);
    assert!(policy.allows_everything(&OWNER) && !policy.allows_everything(&ALICE));
    for operation in Operation::ALL {
        assert_eq!(decided(&policy, &OWNER, "desk", operation), "+default");
        assert_eq!(decided(&policy, &ALICE, "desk", operation), "-default");
        let is_roots = operation == Operation::See || operation.is_for_operators();
        let expected = if is_roots { "+default" } else { "-default" };
        assert_eq!(decided(&policy, &ROOT, "desk", operation), expected, "{operation:?}");
        assert_eq!(decided(&policy, &ci(), "desk", operation), "-default");
    }
}

#[test]
fn a_caller_of_whom_nothing_is_known_is_not_a_broker_that_does_not_know_itself() {
    let nobody = || Identity::User(Account::windows(Sid::NOBODY, []));
    let policy = Policy::new(Vec::new(), SystemUser::windows(Sid::NOBODY));
    assert!(!policy.allows_everything(&nobody()));
    for operation in Operation::ALL {
        assert_eq!(decided(&policy, &nobody(), "desk", operation), "-default");
    }
}

#[test]
fn without_rules_administrators_of_windows_may_diagnose() {
    let user = |text: &str| text.parse::<Sid>().unwrap();
    let own = user("S-1-5-21-1-2-3-1000");
    let policy = Policy::new(Vec::new(), SystemUser::windows(own));
    let elevated = Account::windows(user("S-1-5-21-1-2-3-1001"), [Sid::ADMINISTRATORS]);
    let plain = Account::windows(user("S-1-5-21-1-2-3-1001"), []);
    for (account, expected) in [
        (Account::windows(own, []), ["+default", "+default"]),
        (Account::windows(Sid::SYSTEM, []), ["-default", "+default"]),
        (elevated, ["-default", "+default"]),
        (plain, ["-default", "-default"]),
        // A number is another system's.
        (Account::unix(1000, 0), ["-default", "-default"]),
    ] {
        let who = Identity::User(account);
        let told =
            [Operation::Transmit, Operation::Diagnose].map(|operation| decided(&policy, &who, "desk", operation));
        assert_eq!(told, expected, "{who:?}");
        assert_eq!(policy.allows_everything(&who), expected[0] == "+default");
    }
}

#[test]
fn the_first_rule_that_matches_decides() {
    let policy = policy(
        "rule = [
            { name = 'no reset', principals = ['anyone'], deny = ['reset'] },
            { name = 'desk', principals = ['gid:50', 'token:ci'], readers = ['desk'], allow = ['all'] },
            { name = 'safe', principals = ['uid:1002'], readers = ['Vendor .* 00 00'], allow = ['see', 'watch'] },
            { name = 'nobody at the safe', principals = ['anyone'], readers = ['safe'], deny = ['all'] },
        ]",
    );
    let table = [
        (OWNER, "desk", Operation::Transmit, "+default"),
        (OWNER, "desk", Operation::Reset, "-no reset"),
        (OWNER, "safe", Operation::See, "-nobody at the safe"),
        (ALICE, "desk", Operation::Transmit, "+desk"),
        (ALICE, "desk", Operation::SharedGroup, "+desk"),
        (ALICE, "desk", Operation::GuardOverride, "+desk"),
        (ALICE, "desk", Operation::Reset, "-no reset"),
        (ALICE, "safe", Operation::See, "-nobody at the safe"),
        (ALICE, "other", Operation::See, "-default"),
        (BOB, "safe", Operation::See, "+safe"),
        (BOB, "safe", Operation::Session, "-nobody at the safe"),
        (BOB, "desk", Operation::Watch, "+safe"),
        (BOB, "desk", Operation::Leave, "-default"),
        (ci(), "desk", Operation::Session, "+desk"),
        (ci(), "desk2", Operation::Session, "-default"),
        (Identity::Token("ci2".into()), "desk", Operation::See, "-default"),
    ];
    for (who, id, operation, expected) in table {
        assert_eq!(decided(&policy, &who, id, operation), expected, "{who:?} {id} {operation:?}");
    }
    assert!(!policy.allows_everything(&OWNER));
}

#[test]
fn what_is_for_operators_is_allowed_by_name_only() {
    let policy = policy(
        "rule = [
            { name = 'cards', principals = ['uid:1001'], allow = ['all'] },
            { name = 'night shift', principals = ['uid:1001'], allow = ['diagnose', 'release'] },
            { name = 'desk only', principals = ['uid:1002'], readers = ['desk'], allow = ['see', 'diagnose'] },
            { name = 'nothing', principals = ['uid:1002'], deny = ['all'] },
        ]",
    );
    let table = [
        (ALICE, Operation::GuardOverride, "+cards", "+cards"),
        (ALICE, Operation::Diagnose, "+night shift", "+night shift"),
        (ALICE, Operation::Trace, "-default", "-default"),
        (BOB, Operation::Diagnose, "+desk only", "-nothing"),
        (BOB, Operation::Configure, "-nothing", "-nothing"),
        (OWNER, Operation::TraceData, "+default", "+default"),
        (ROOT, Operation::Diagnose, "-default", "-default"),
    ];
    for (who, operation, at_desk, everywhere) in table {
        let decided = [decided(&policy, &who, "desk", operation), text(policy.decide_everywhere(&who, operation))];
        assert_eq!(decided, [at_desk, everywhere], "{who:?} {operation:?}");
    }
}

#[test]
fn commands_restrict_nothing_that_is_for_operators() {
    let mistake = |operations: &str| {
        let rule = format!("name = 'r'\nprincipals = ['x']\nallow = [{operations}]\ncommands = [{{ class = '00' }}]");
        let rule: Rule<String> = toml::from_str(&rule).unwrap();
        rule.with_principals(|_| PrincipalPattern::parse("anyone".into(), &Known).unwrap()).mistake()
    };
    assert_eq!(mistake("'transmit'"), None);
    assert_eq!(mistake("'all'"), None);
    let (key, message) = mistake("'transmit', 'trace'").unwrap();
    assert!(key == "commands" && message.contains("another rule"), "{message}");
}

#[test]
fn a_caller_without_see_is_granted_nothing() {
    let policy = policy(
        "rule = [
            { name = 'not bob', principals = ['uid:1002'], deny = ['all'] },
            { name = 'not at the safe', principals = ['anyone'], readers = ['safe'], deny = ['see'] },
            { name = 'desk', principals = ['uid:1002', 'token:ci'], readers = ['desk'], allow = ['see', 'transmit'] },
            { name = 'blind', principals = ['uid:1001'], allow = ['transmit'] },
        ]",
    );
    let denied = |policy: &Policy, who: &Identity| {
        policy.denied_everywhere(who, Operation::See).map_or("-".to_owned(), |rule| rule.to_string())
    };
    let told = [OWNER, ALICE, BOB, ci()].map(|who| denied(&policy, &who));
    assert_eq!(told, ["-", "default", "not bob", "-"]);
    assert_eq!(denied(&policy.clone().with_tokens([]), &ci()), "no such token");
    let no_rules = Policy::new(Vec::new(), OWN_USER);
    assert_eq!([denied(&no_rules, &OWNER), denied(&no_rules, &ALICE)], ["-", "default"]);
}

#[test]
fn an_operation_is_denied_everywhere_only_if_no_reader_may_allow_it() {
    let policy = policy(
        "rule = [
            { name = 'not at the safe', principals = ['anyone'], readers = ['safe'], deny = ['all'] },
            { name = 'no resets', principals = ['anyone'], deny = ['transmit'], commands = [{ instruction = '20' }] },
            { name = 'desk', principals = ['uid:1002'], readers = ['desk'], allow = ['transmit'] },
            { name = 'no units', principals = ['uid:1001', 'uid:1002'], deny = ['transmit'] },
            { name = 'some', principals = ['token:ci'], allow = ['session'], commands = [{ instruction = 'A4' }] },
            { name = 'all', principals = ['anyone'], allow = ['see'] },
        ]",
    );
    let denied = |who: &Identity, operation| policy.denied_everywhere(who, operation).map(|rule| rule.to_string());
    let rules = |operation| [OWNER, ALICE, BOB, ci()].map(|who| denied(&who, operation));
    let told = |rule: &str| Some(rule.to_owned());
    assert_eq!(rules(Operation::See), [None, None, None, None]);
    assert_eq!(rules(Operation::Transmit), [None, told("no units"), None, told("default")]);
    assert_eq!(rules(Operation::Session), [None, told("default"), told("default"), None]);
}

#[test]
fn a_rule_for_a_group_applies_to_its_listed_members() {
    let policy = policy("rule = [{ name = 'g', principals = ['group:readers'], allow = ['see'] }]");
    let others = Identity::User(Account::unix(1003, 60));
    let decisions = [ALICE, BOB, others].map(|who| decided(&policy, &who, "desk", Operation::See));
    assert_eq!(decisions, ["+g", "+g", "-default"]);
}

const PIV: &[u8] = &[0xA0, 0x00, 0x00, 0x03, 0x08, 0x00, 0x00, 0x10, 0x00];

#[test]
fn rules_for_commands_match_the_header() {
    let policy = policy(
        "rule = [
            { name = 'no verify', principals = ['anyone'], deny = ['transmit'], commands = [{ instruction = '2x' }] },
            { name = 'read', principals = ['anyone'], allow = ['transmit'], commands = [
                { class = '0x', instruction = 'A4', p1 = '04' }, { class = '00', instruction = 'B0', p2 = 'x0' } ] },
        ]",
    );
    for (header, expected) in [
        ([0x00, 0x20, 0x00, 0x80], "-no verify"),
        ([0x8C, 0x2A, 0x9E, 0x9A], "-no verify"),
        ([0x0C, 0xA4, 0x04, 0x0C], "+read"),
        ([0x10, 0xA4, 0x04, 0x0C], "-default"),
        ([0x00, 0xA4, 0x00, 0x0C], "-default"),
        ([0x00, 0xB0, 0xFF, 0xF0], "+read"),
        ([0x00, 0xB0, 0xFF, 0x01], "-default"),
    ] {
        for application in [Application::Later, Application::Unknown, Application::Known(PIV)] {
            assert_eq!(command(&policy, header, application), expected, "{header:02X?}");
        }
    }
    // Some commands are allowed, so transmit is.
    assert_eq!(decided(&policy, &ALICE, "desk", Operation::Transmit), "+read");
    assert_eq!(decided(&policy, &ALICE, "desk", Operation::Session), "-default");
}

#[test]
fn an_unknown_application_matches_denials_only() {
    let sign = [0x00, 0x87, 0x11, 0x9A];
    let allowing = policy(
        "rule = [
            { name = 'piv', principals = ['anyone'], allow = ['transmit'],
              commands = [{ application = 'A000000308' }] },
        ]",
    );
    let denying = policy(
        "rule = [
            { name = 'no piv', principals = ['anyone'], deny = ['transmit'],
              commands = [{ application = 'a000000308' }] },
            { name = 'rest', principals = ['anyone'], allow = ['transmit'] },
        ]",
    );
    for (application, allowed, denied) in [
        (Application::Later, "+piv", "+rest"),
        (Application::Unknown, "-default", "-no piv"),
        (Application::Known(PIV), "+piv", "-no piv"),
        // The beginning of a name, too short to decide.
        (Application::Known(&PIV[..4]), "-default", "-no piv"),
        (Application::Known(&[0xD2, 0x76]), "-default", "+rest"),
    ] {
        assert_eq!(command(&allowing, sign, application), allowed, "{application:?}");
        assert_eq!(command(&denying, sign, application), denied, "{application:?}");
    }
}

#[test]
fn unreadable_commands_match_denials_only() {
    let rule = |name: &str, effect: &str, commands: &str| {
        format!("{{ name = '{name}', principals = ['anyone'], {effect} = ['transmit']{commands} }}")
    };
    let sign = ", commands = [{ class = '00', instruction = '2A', application = 'A000000308' }]";
    for (rules, expected) in [
        (vec![rule("read", "allow", sign)], "-default"),
        (vec![rule("no sign", "deny", sign), rule("rest", "allow", "")], "-no sign"),
        (vec![rule("all", "allow", ""), rule("no sign", "deny", sign)], "+all"),
        (vec![rule("read", "allow", sign), rule("none", "deny", "")], "-none"),
    ] {
        let policy = policy(&format!("rule = [{}]", rules.join(", ")));
        for application in [Application::Later, Application::Unknown, Application::Known(PIV)] {
            assert_eq!(judged(&policy, Header::Unreadable, application), expected, "{rules:?}");
        }
    }
}

#[test]
fn a_rule_that_fits_no_present_reader_is_found() {
    let policy = policy(
        "rule = [
            { name = 'every', principals = ['anyone'], allow = ['see'] },
            { name = 'pasted', principals = ['anyone'], readers = ['Vendor [A-B] (1) 00 00'], deny = ['see'] },
            { name = 'typo', principals = ['anyone'], readers = ['Vender .*', 'desc'], deny = ['transmit'] },
            { name = 'half', principals = ['anyone'], readers = ['desk', 'lab'], allow = ['all'] },
            { name = 'half not', principals = ['anyone'], readers = ['desk', 'lab'], deny = ['all'] },
        ]",
    );
    let pasted = ReaderNames { id: "vendor".into(), display_name: "Vendor [A-B] (1) 00 00".into() };
    let unfit = policy.unfit(&[reader("desk"), pasted]);
    let told: Vec<_> = unfit.iter().map(|unfit| (unfit.denies, &*unfit.message)).collect();
    assert_eq!(
        told,
        [
            (true, "rule \"typo\" denies nothing: no reader here fits \"Vender .*\", \"desc\""),
            (false, "rule \"half\" allows nothing by \"lab\": no reader here fits"),
            (true, "rule \"half not\" denies nothing by \"lab\": no reader here fits"),
        ]
    );
    assert_eq!(policy.unfit(&[]).len(), 4);
}
