//! Fuzzes the policy with any rules and questions: each decision equals that of a naive reading, which tries every
//! application that may be selected.

#![no_main]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a target says what is broken"
)]

use std::fmt::Write;

use cardbroker_core::{
    apdu::Header,
    caller::{Identity, Principal},
    policy::{Application, Command, Policy, ReaderNames, rule::Operation},
    user::{Account, SystemGroup, SystemUser},
};
use cardbroker_server::config::Config;
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};

const OWNER: u32 = 1000;
const OWN_USER: SystemUser = SystemUser::unix(OWNER);
const USERS: [(u32, u32); 3] = [(OWNER, 10), (1001, 10), (1002, 20)];
const TOKENS: [&str; 2] = ["ci", "desk"];
/// Each with the patterns that fit its id or its display name.
const READERS: [(&str, &str); 2] = [("desk", "Vendor A 00 00"), ("safe", "Vendor B 00 00")];
const PATTERNS: [(&str, [bool; 2]); 4] =
    [("desk", [true, false]), ("Vendor .* 00", [true, true]), ("s.fe", [false, true]), ("Vendor", [false, false])];
/// The bits of all operations in the order of [`Operation::ALL`].
const ALL_OPERATIONS: u16 = (1 << Operation::ALL.len()) - 1;
/// The bytes of application names. The last byte stands for all those that no rule names.
const NAME_BYTES: [u8; 3] = [0xA0, 0xD2, 0x00];
/// Longer than any application that a rule names, so that each of them can go on in several ways.
const NAME_LENGTH: usize = 3;

#[derive(Debug, Arbitrary)]
struct Case {
    rules: Vec<Rule>,
    questions: Vec<Question>,
}

#[derive(Debug, Arbitrary)]
struct Rule {
    allow: bool,
    first: Who,
    others: Vec<Who>,
    readers: [Option<u8>; 2],
    /// A bit for each; none stands for all.
    operations: u16,
    commands: Vec<Pattern>,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Who {
    Anyone,
    User(u8),
    Group(u8),
    Token(u8),
}

#[derive(Debug, Arbitrary)]
struct Pattern {
    /// Half-bytes of CLA, INS, P1 and P2, each 0 or 1, `None` for any.
    header: [(Option<u8>, Option<u8>); 4],
    application: Option<(u8, Option<u8>)>,
}

#[derive(Debug, Arbitrary)]
struct Question {
    who: Who,
    reader: bool,
    operation: u8,
    /// Its header, if it can be read, and what is selected.
    command: Option<(Option<[u8; 4]>, Selected)>,
}

#[derive(Debug, Arbitrary)]
enum Selected {
    Later,
    Unknown,
    Known(Vec<u8>),
}

fn pick<T: Copy>(from: &[T], index: u8) -> T {
    from[usize::from(index) % from.len()]
}

impl Who {
    fn text(self) -> String {
        match self {
            Self::Anyone => "anyone".into(),
            Self::User(user) => format!("uid:{}", pick(&USERS, user).0),
            Self::Group(user) => format!("gid:{}", pick(&USERS, user).1),
            Self::Token(token) => format!("token:{}", pick(&TOKENS, token)),
        }
    }

    fn is(self, identity: &Identity) -> bool {
        match (self, identity) {
            (Self::Anyone, _) => true,
            (Self::User(user), Identity::User(account)) => account.user() == SystemUser::unix(pick(&USERS, user).0),
            (Self::Group(user), Identity::User(account)) => account.is_in(SystemGroup::unix(pick(&USERS, user).1)),
            (Self::Token(token), Identity::Token(name)) => *pick(&TOKENS, token) == *name.name,
            _ => false,
        }
    }

    fn identity(self) -> Identity {
        match self {
            Self::Anyone => Identity::User(Account::unix(4_000_000, 4_000_000)),
            Self::User(user) | Self::Group(user) => {
                let (uid, gid) = pick(&USERS, user);
                Identity::User(Account::unix(uid, gid))
            }
            Self::Token(token) => Identity::Token(pick(&TOKENS, token).into()),
        }
    }
}

impl Pattern {
    fn is_empty(&self) -> bool {
        self.application.is_none() && self.header == [(None, None); 4]
    }

    fn application(&self) -> Option<Vec<u8>> {
        let (first, second) = self.application?;
        let named = |byte| pick(&NAME_BYTES[..2], byte);
        Some([Some(named(first)), second.map(named)].into_iter().flatten().collect())
    }

    fn text(&self) -> String {
        let digit = |digit: Option<u8>| digit.map_or("x".into(), |digit| (digit % 2).to_string());
        let keys = ["class", "instruction", "p1", "p2"].into_iter().zip(self.header);
        let given = keys.filter(|(_, half)| *half != (None, None));
        let mut parts: Vec<_> =
            given.map(|(key, (high, low))| format!("{key} = \"{}{}\"", digit(high), digit(low))).collect();
        if let Some(name) = self.application() {
            let digits: String = name.iter().map(|byte| format!("{byte:02X}")).collect();
            parts.push(format!("application = \"{digits}\""));
        }
        format!("{{ {} }}", parts.join(", "))
    }

    /// Whether it fits while the application of that name is selected.
    fn fits(&self, header: [u8; 4], selected: &[u8]) -> bool {
        let half = |wanted: Option<u8>, is: u8| wanted.is_none_or(|wanted| wanted % 2 == is);
        let bytes = self.header.iter().zip(header);
        bytes.into_iter().all(|((high, low), byte)| half(*high, byte >> 4) && half(*low, byte & 0xF))
            && self.application().is_none_or(|name| selected.starts_with(&name))
    }
}

impl Question {
    /// About one of the commands that patterns can name.
    fn in_few_commands(mut self) -> Self {
        if let Some((header, _)) = &mut self.command {
            header.iter_mut().flatten().for_each(|byte| *byte &= 0x11);
        }
        self
    }
}

impl Rule {
    fn names(&self, operation: Operation) -> bool {
        let mask = self.operations & ALL_OPERATIONS;
        let is_in_all = !(self.allow && operation.is_for_operators());
        let is_named =
            || Operation::ALL.iter().position(|one| *one == operation).is_some_and(|bit| mask >> bit & 1 == 1);
        if mask == 0 { is_in_all } else { is_named() }
    }

    /// Only rules about commands may name some, and an empty pattern is no use to anybody.
    fn commands(&self) -> Vec<&Pattern> {
        let sends = Operation::ALL.iter().any(|one| one.concerns_commands() && self.names(*one));
        let names_others = self.operations & ALL_OPERATIONS != 0
            && Operation::ALL.iter().any(|one| one.is_for_operators() && self.names(*one));
        self.commands.iter().filter(|pattern| sends && !names_others && !pattern.is_empty()).collect()
    }

    /// A rule that denies names no group.
    fn principals(&self) -> impl Iterator<Item = Who> {
        let allow = self.allow;
        [self.first].into_iter().chain(self.others.iter().copied()).map(move |one| match one {
            Who::Group(user) if !allow => Who::User(user),
            one => one,
        })
    }

    fn concerns(&self, who: &Identity, reader: usize) -> bool {
        let readers: Vec<_> =
            self.readers.into_iter().flatten().map(|index| pick(&PATTERNS, index).1[reader]).collect();
        self.principals().any(|one| one.is(who)) && (readers.is_empty() || readers.contains(&true))
    }

    fn write(&self, number: usize, text: &mut String) -> std::fmt::Result {
        let quoted = |texts: Vec<String>| format!("[\"{}\"]", texts.join("\", \""));
        let principals = self.principals().map(Who::text).collect();
        let readers: Vec<_> =
            self.readers.into_iter().flatten().map(|index| pick(&PATTERNS, index).0.to_owned()).collect();
        let operations: Vec<_> = match self.operations & ALL_OPERATIONS {
            0 => vec!["all".to_owned()],
            _ => Operation::ALL.iter().filter(|one| self.names(**one)).map(|one| one.as_str().to_owned()).collect(),
        };
        writeln!(text, "[[rule]]\nname = \"{number}\"\nprincipals = {}", quoted(principals))?;
        writeln!(text, "{} = {}", if self.allow { "allow" } else { "deny" }, quoted(operations))?;
        if !readers.is_empty() {
            writeln!(text, "readers = {}", quoted(readers))?;
        }
        let commands: Vec<_> = self.commands().into_iter().map(Pattern::text).collect();
        if !commands.is_empty() {
            writeln!(text, "commands = [{}]", commands.join(", "))?;
        }
        Ok(())
    }
}

/// Every application that may be selected: all whose name begins as known, and, if nothing is known, none at all.
fn possible(known: &[u8]) -> Vec<Vec<u8>> {
    let mut names = vec![known.to_vec()];
    while names[0].len() < NAME_LENGTH {
        names = names.iter().flat_map(|name| NAME_BYTES.map(|byte| [&name[..], &[byte]].concat())).collect();
    }
    names.extend(known.is_empty().then(Vec::new));
    names
}

/// The verdict of the first rule that speaks of it, and its name.
fn decision(rules: &[Rule], question: &Question, who: &Identity, operation: Operation) -> (bool, String) {
    let fits = |rule: &Rule| {
        let commands = rule.commands();
        match &question.command {
            _ if commands.is_empty() => true,
            // Whether there is any command that may be sent.
            None => rule.allow || !operation.concerns_commands(),
            // It may be any command: what allows some does not allow it, and what denies some denies it.
            Some((None, _)) => !rule.allow,
            Some((Some(header), selected)) => {
                let known = if let Selected::Known(known) = selected { &known[..] } else { &[] };
                let worlds = possible(known);
                let fits = |name: &Vec<u8>| commands.iter().any(|one| one.fits(*header, name));
                // What is not known yet is decided later, in favour of the caller; what is not known now, against.
                match (rule.allow, selected) {
                    (true, Selected::Later) | (false, Selected::Unknown | Selected::Known(_)) => {
                        worlds.iter().any(fits)
                    }
                    (false, Selected::Later) | (true, Selected::Unknown | Selected::Known(_)) => {
                        worlds.iter().all(fits)
                    }
                }
            }
        }
    };
    let speaks = |rule: &Rule| rule.concerns(who, usize::from(question.reader)) && rule.names(operation) && fits(rule);
    match rules.iter().position(speaks) {
        Some(number) => (rules[number].allow, number.to_string()),
        None => (who.principal() == Principal::User(OWN_USER), "default".into()),
    }
}

fuzz_target!(|case: Case| {
    let rules = &case.rules[..case.rules.len().min(4)];
    let mut text = String::new();
    for (number, rule) in rules.iter().enumerate() {
        rule.write(number, &mut text).expect("a string takes everything");
    }
    let config = Config::parse("c.toml".as_ref(), &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let policy = Policy::new(config.rules, OWN_USER);
    for question in case.questions {
        let question = question.in_few_commands();
        let (who, operation) = (question.who.identity(), pick(&Operation::ALL, question.operation));
        let (id, display_name) = READERS[usize::from(question.reader)];
        let reader = ReaderNames { id: id.into(), display_name: display_name.into() };
        let decided = match &question.command {
            None => policy.decide(&who, &reader, operation),
            Some((header, selected)) => {
                let application = match selected {
                    Selected::Later => Application::Later,
                    Selected::Unknown => Application::Unknown,
                    Selected::Known(name) => Application::Known(name),
                };
                let header = header.map_or(Header::Unreadable, Header::Read);
                policy.decide_command(&who, &reader, operation, Command { header, application })
            }
        };
        let expected = decision(rules, &question, &who, operation);
        assert_eq!((decided.allowed, decided.rule.to_string()), expected, "{question:?}\n{text}");
        assert!(decided.allowed || !policy.allows_everything(&who));
    }
});
