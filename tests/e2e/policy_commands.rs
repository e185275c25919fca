//! Rules with commands, applied to bytes that cannot be parsed, and to a class or an instruction that the caller sets.

use cardbroker_client::{Command, Error, Transmit, Transmitted, hex};
use cardbroker_core::slot::Protocol;
use tonic::Code;

use crate::{
    conversation::{Conversation, opening},
    wire::stub,
    world::{COUNT, INCREMENT, Stage, answers, tell, told},
};

/// A SELECT that announces more data than it has.
const UNREADABLE: &str = "00A4040006F0";

/// A rule for the broker's own user.
fn rule(name: &str, effect: &str, operations: &str, commands: &str) -> String {
    let commands = if commands.is_empty() { String::new() } else { format!(", commands = [{commands}]") };
    format!("{{ name = '{name}', principals = ['self'], {effect} = [{operations}]{commands} }}")
}

async fn stage(protocol: Protocol, rules: &[String]) -> anyhow::Result<Stage> {
    Stage::simulated_with(protocol, &format!("rule = [{}]", rules.join(", "))).await
}

fn raw(apdu: &str) -> Command {
    Command::new(hex::parse(apdu).unwrap()).raw()
}

fn offer(class: u8) -> Command {
    Command::new([0x80, 0x1A, class, 0x01, 0x00])
}

fn unit(stage: &Stage, command: Command) -> Transmit {
    stage.client.transmit(stage.reader).command(command)
}

/// The rule that denied a unit, which must not have been sent.
fn refusing_rule(outcome: Result<Transmitted, Error>) -> String {
    let error = outcome.expect_err("it was answered");
    assert_eq!(told(&error), "DENIED not_sent");
    let failure = error.failure().unwrap();
    assert_eq!(failure.code, Code::PermissionDenied);
    failure.rule.clone().expect("no rule is named")
}

#[test]
fn unreadable_bytes_match_denials_of_commands_and_no_permission() -> anyhow::Result<()> {
    tell(async {
        let denial = rule("no PIN", "deny", "'transmit'", "{ instruction = '20' }");
        let stage = stage(Protocol::T1, &[denial]).await?;
        assert_eq!(refusing_rule(unit(&stage, raw(UNREADABLE)).send().await), "no PIN");
        let behind_another = stage.client.transmit(stage.reader).commands([raw(INCREMENT), raw(UNREADABLE)]);
        assert_eq!(refusing_rule(behind_another.send().await), "no PIN");
        // The denial concerns units only. In a session the same bytes pass.
        let session = stage.client.open_session(stage.reader).open().await?;
        assert_eq!(answers(&session.transmit([raw(UNREADABLE)]).send().await?), ["6700"]);
        session.close().await?;
        assert_eq!(stage.run(&[INCREMENT]).await?, ["00000001 9000"], "nothing of a denied unit was sent");

        // No pattern, however wide, allows them.
        let permission = rule("anything", "allow", "'see', 'transmit', 'session'", "{ class = 'xx' }");
        let rest = rule("nothing else", "deny", "'transmit', 'session'", "");
        let stage = self::stage(Protocol::T1, &[permission, rest]).await?;
        assert_eq!(answers(&unit(&stage, raw(INCREMENT)).send().await?), ["00000001 9000"], "what can be read");
        assert_eq!(refusing_rule(unit(&stage, raw(UNREADABLE)).send().await), "nothing else");
        let session = stage.client.open_session(stage.reader).open().await?;
        assert_eq!(refusing_rule(session.transmit([raw(UNREADABLE)]).send().await), "nothing else");
        assert_eq!(answers(&session.transmit([hex::parse(COUNT)?]).send().await?), ["00000002 9000"]);

        // Without a rule that has commands they pass.
        let stage = self::stage(Protocol::T1, &[rule("no resets", "deny", "'reset'", "")]).await?;
        assert_eq!(answers(&unit(&stage, raw(UNREADABLE)).send().await?), ["6700"]);
        Ok(())
    })
}

#[test]
fn a_continue_class_or_instruction_is_judged_like_a_command() -> anyhow::Result<()> {
    tell(async {
        for (protocol, first, chosen) in [(Protocol::T1, 0x80, 0x00), (Protocol::T0, 0x00, 0x80)] {
            let fetching = "{ instruction = 'C0' }, { instruction = 'A5' }";
            let denial = rule("no fetching", "deny", "'transmit', 'session'", fetching);
            let stage = stage(protocol, &[denial]).await?;
            let own = unit(&stage, offer(first)).send().await?;
            assert_eq!(answers(&own), ["7069636B79 9000"], "the broker's own GET RESPONSE belongs to the command");
            for choosing in [offer(first).continue_class(first), offer(chosen).continue_class(chosen)] {
                assert_eq!(refusing_rule(unit(&stage, choosing).send().await), "no fetching");
            }
            let choosing = Command::new(hex::parse("8018000000")?).continue_instruction(0xA5);
            assert_eq!(refusing_rule(unit(&stage, choosing).send().await), "no fetching");

            let permission = rule("offers", "allow", "'see', 'transmit'", "{ instruction = '1A' }");
            let rest = rule("nothing else", "deny", "'transmit'", "");
            let stage = self::stage(protocol, &[permission, rest]).await?;
            assert_eq!(answers(&unit(&stage, offer(first)).send().await?), ["7069636B79 9000"]);
            let choosing = unit(&stage, offer(chosen).continue_class(chosen));
            assert_eq!(refusing_rule(choosing.send().await), "nothing else");

            let class = format!("{{ instruction = '1A' }}, {{ class = '{chosen:02X}', instruction = 'C0' }}");
            let permission = rule("offers", "allow", "'see', 'transmit'", &class);
            let rest = rule("nothing else", "deny", "'transmit'", "");
            let stage = self::stage(protocol, &[permission, rest]).await?;
            let choosing = unit(&stage, offer(chosen).continue_class(chosen)).send().await?;
            assert_eq!(answers(&choosing), ["7069636B79 9000"], "allowed like a command, too");
        }
        Ok(())
    })
}

#[test]
fn a_denial_within_a_session_names_its_rule() -> anyhow::Result<()> {
    tell(async {
        let denial = rule("no PIN", "deny", "'session'", "{ instruction = '20' }");
        let stage = stage(Protocol::T1, &[denial]).await?;
        let mut session = Conversation::open(&stub(&stage.broker).await?, opening(stage.reader)).await?;
        session.transmit(&["00200080"]);
        let failure = session.failure().await;
        assert_eq!((&*failure.rule, failure.code), ("no PIN", Code::PermissionDenied as i32));
        session.restart(&[INCREMENT]);
        assert_eq!(session.answer().await, "2: 00000001 9000");
        Ok(())
    })
}
