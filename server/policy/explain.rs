//! `policy check`: prints the operations that a caller may perform at a reader, each with the rule that decides it.

use std::fmt::{self, Write};

use cardbroker_core::{
    apdu::Header,
    caller::Identity,
    policy::{Application, Command, Decision, Policy, ReaderNames, rule::Operation},
};
use serde_json::{Value, json};

use super::accounts::identity;

/// The arguments of `policy check`.
#[derive(Debug, Clone, clap::Args)]
pub struct Question {
    /// The caller: self, token:NAME, user:NAME, uid:NUMBER, on Windows user:DOMAIN\NAME or sid:S-1-….
    #[arg(long = "as", value_name = "WHO", default_value = "self", value_parser = identity)]
    who: Identity,
    /// The reader's id or PC/SC name. Without it, only rules for all readers apply.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    reader: String,
    /// The PC/SC name, if rules use both the id and the PC/SC name of the reader.
    #[arg(long, value_name = "NAME", requires = "reader")]
    display_name: Option<String>,
    /// Check this command too: an APDU in hexadecimal, of which only the first four bytes matter.
    #[arg(long, value_name = "APDU", value_parser = header)]
    apdu: Option<FirstBytes>,
    /// The AID of the selected application, in hexadecimal. Without it, the selection counts as unknown.
    #[arg(long, value_name = "AID", value_parser = application, requires = "apdu")]
    application: Option<Aid>,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

type FirstBytes = [u8; 4];

#[derive(Debug, Clone)]
struct Aid(Vec<u8>);

fn header(text: &str) -> Result<FirstBytes, String> {
    let digits: String = text.chars().filter(|letter| !letter.is_whitespace() && *letter != ':').take(8).collect();
    let mut header = [0; 4];
    hex::decode_to_slice(digits, &mut header)
        .map_err(|_| "an APDU has at least four bytes in hexadecimal".to_owned())?;
    Ok(header)
}

fn application(text: &str) -> Result<Aid, String> {
    let bytes = hex::decode(text).ok().filter(|bytes| (5..=16).contains(&bytes.len()));
    bytes.map(Aid).ok_or_else(|| "an AID has 5 to 16 bytes in hexadecimal".to_owned())
}

impl Question {
    /// The name of the caller's token, if it has one.
    pub fn token(&self) -> Option<&str> {
        match &self.who {
            Identity::Token(token) => Some(&token.name),
            Identity::User(_) | Identity::Unknown => None,
        }
    }

    /// Returns the answer of `policy` as text or JSON. It ends with a newline.
    pub fn answer(&self, policy: &Policy) -> String {
        let display_name = self.display_name.as_ref().unwrap_or(&self.reader).clone();
        let names = ReaderNames { id: self.reader.clone(), display_name };
        let operations = Operation::ALL.map(|operation| (operation, policy.decide(&self.who, &names, operation)));
        let commands = self.apdu.map(|header| {
            let application = self.application.as_ref().map_or(Application::Unknown, |aid| Application::Known(&aid.0));
            let command = Command { header: Header::Read(header), application };
            [Operation::Transmit, Operation::Session]
                .map(|operation| (operation, policy.decide_command(&self.who, &names, operation, command)))
        });
        if self.json { self.json(&operations, commands.as_ref()) } else { self.text(&operations, commands.as_ref()) }
    }

    fn json(&self, operations: &[Answer], commands: Option<&[Answer; 2]>) -> String {
        let list = |answers: &[Answer]| Value::from_iter(answers.iter().map(answer_json));
        let answer = json!({
            "principal": self.who.principal().to_string(),
            "reader": self.reader,
            "operations": list(operations),
            "command": commands.map(|commands| list(commands)),
        });
        format!("{answer}\n")
    }

    fn text(&self, operations: &[Answer], commands: Option<&[Answer; 2]>) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = self.write(&mut text, operations, commands);
        text
    }

    fn write(&self, text: &mut String, operations: &[Answer], commands: Option<&[Answer; 2]>) -> fmt::Result {
        let reader = if self.reader.is_empty() { "a reader that no rule names" } else { &self.reader };
        writeln!(text, "{} at {reader}:", self.who.principal())?;
        for (operation, decision) in operations {
            writeln!(text, "  {:<15} {}", operation.as_str(), description(*operation, decision))?;
        }
        for (operation, decision) in commands.into_iter().flatten() {
            writeln!(text, "  the command, by {}: {}", operation.as_str(), description(*operation, decision))?;
        }
        if operations.iter().any(|(operation, decision)| *operation == Operation::See && !decision.allowed) {
            writeln!(text, "This caller cannot see the reader, so no other permission has any effect.")?;
        }
        Ok(())
    }
}

type Answer = (Operation, Decision);

fn description(operation: Operation, decision: &Decision) -> String {
    let Decision { allowed, some_commands, rule, .. } = decision;
    let verdict = if *allowed { "allowed" } else { "denied" };
    let which = if *some_commands { ", for some commands" } else { "" };
    let share = share(operation, decision).map(|share| format!(", share {share}")).unwrap_or_default();
    format!("{verdict:<7}  rule \"{rule}\"{which}{share}")
}

fn answer_json((operation, decision): &Answer) -> Value {
    let mut answer = json!({
        "operation": operation.as_str(),
        "allowed": decision.allowed,
        "some_commands": decision.some_commands,
        "rule": &*decision.rule,
    });
    if let Some(share) = share(*operation, decision) {
        answer["share"] = share.into();
    }
    answer
}

/// The share of an operation that runs commands, unless it is the default of 1. No other operation waits for turns.
fn share(operation: Operation, decision: &Decision) -> Option<u8> {
    let waits = matches!(operation, Operation::Transmit | Operation::Session);
    Some(decision.share).filter(|share| waits && *share > 1)
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;
    use crate::{config::Config, policy::accounts::own_user};

    fn answer(arguments: &[&str]) -> String {
        let rules = "rule = [
            { name = 'desk', principals = ['token:ci'], readers = ['desk'], allow = ['see', 'transmit'],
              commands = [{ instruction = 'CB', application = 'A000000308' }], share = 3 },
        ]";
        let command = Question::augment_args(clap::Command::new("check").no_binary_name(true));
        let question = Question::from_arg_matches(&command.try_get_matches_from(arguments).unwrap()).unwrap();
        question.answer(&Policy::new(Config::parse("c.toml".as_ref(), rules).unwrap().rules, own_user()))
    }

    #[test]
    fn the_answer_names_the_rule_of_each_operation() {
        let expected = "\
token ci at desk:
  see             allowed  rule \"desk\"
  watch           denied   rule \"default\"
  transmit        allowed  rule \"desk\", for some commands, share 3
  session         denied   rule \"default\"
  reset           denied   rule \"default\"
  leave           denied   rule \"default\"
  shared_group    denied   rule \"default\"
  guard_override  denied   rule \"default\"
  diagnose        denied   rule \"default\"
  trace           denied   rule \"default\"
  trace_data      denied   rule \"default\"
  release         denied   rule \"default\"
  metrics         denied   rule \"default\"
  configure       denied   rule \"default\"
";
        assert_eq!(answer(&["--as", "token:ci", "--reader", "desk"]), expected);
    }

    #[test]
    fn the_share_is_that_of_operations_that_wait_for_turns() {
        let answer: Value = serde_json::from_str(&answer(&["--as", "token:ci", "--reader", "desk", "--json"])).unwrap();
        let operations = answer["operations"].as_array().unwrap().iter();
        let shares: Vec<_> =
            operations.filter_map(|answer| Some((&answer["operation"], answer.get("share")?))).collect();
        assert_eq!(shares, [(&json!("transmit"), &json!(3))]);
    }

    #[test]
    fn the_answer_says_that_an_unseen_reader_allows_nothing() {
        assert!(answer(&["--as", "token:ci"]).contains("at a reader that no rule names:"));
        let unseen = answer(&["--as", "token:other", "--reader", "desk"]);
        assert!(unseen.ends_with("no other permission has any effect.\n"), "{unseen}");
        assert!(answer(&["--as", "self"]).contains("  transmit        allowed  rule \"default\"\n"));
    }

    #[test]
    fn a_command_is_decided_by_the_selected_application() {
        let check = |more: &[&str]| {
            answer(&[&["--as", "token:ci", "--reader", "desk", "--json", "--apdu", "00 CB 3F FF 03"], more].concat())
        };
        let allowed =
            |answer: &str| serde_json::from_str::<Value>(answer).unwrap()["command"][0]["allowed"].as_bool().unwrap();
        assert!(allowed(&check(&["--application", "A00000030800001000"])));
        assert!(!allowed(&check(&["--application", "D27600012401"])));
        assert!(!allowed(&check(&[])));
    }
}
