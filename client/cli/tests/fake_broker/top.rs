//! `cardbroker top` without a terminal.

use crate::{
    command_line::{code, err, out, run},
    support::FakeBroker,
};

#[test]
fn without_a_terminal_top_names_the_command_for_programs() {
    let broker = FakeBroker::answering(b"");
    let output = run(&broker, &["top"]);
    let told = "cardbroker: top needs a terminal: use \"cardbroker status --watch --json\"\n";
    assert_eq!((code(&output), out(&output), err(&output)), (2, "", told));
    let output = run(&broker, &["--json", "top", "desk"]);
    assert_eq!((code(&output), out(&output)), (2, ""));
    assert!(err(&output).contains("top has no JSON: use"), "{output:?}");
}
