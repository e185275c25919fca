//! The packaged polkit rule. pcscd of Debian 12 is built without polkit, so the story asks polkit itself, as the pcscd
//! of other distributions does: with the process of its client.

use anyhow::ensure;
use cardbroker_tests::harness::{clean_root::CleanRoot, programs::Program};

use super::{debian_package, install};

/// The actions of pcsc-lite with the defaults of its own policy: yes for users at the machine's screen, no for others.
const ACTIONS: [&str; 2] = ["org.debian.pcsc-lite.access_pcsc", "org.debian.pcsc-lite.access_card"];

const RULE: &str = "/usr/share/polkit-1/rules.d/50-cardbroker.rules";

fn policy() -> String {
    let action = |id: &str| {
        format!(
            "<action id='{id}'><description>PC/SC</description><message>PC/SC</message><defaults>
            <allow_any>no</allow_any><allow_inactive>no</allow_inactive><allow_active>yes</allow_active>
            </defaults></action>"
        )
    };
    format!("<policyconfig>{}</policyconfig>", ACTIONS.map(action).concat())
}

/// Whether polkit admits a process to each action.
fn admitted(system: &CleanRoot, process: &str) -> anyhow::Result<[bool; 2]> {
    let mut admitted = [false; 2];
    for (action, admitted) in ACTIONS.into_iter().zip(&mut admitted) {
        let answer = system.run_shell(&format!("pkcheck --action-id {action} --process {process}"))?;
        ensure!([Some(0), Some(1)].contains(&answer.code), "{answer:?}");
        ensure!(answer.code == Some(0) || answer.err.contains("Not authorized"), "{answer:?}");
        *admitted = answer.code == Some(0);
    }
    Ok(admitted)
}

#[test]
fn the_polkit_rule_admits_the_daemon_and_nobody_else() -> anyhow::Result<()> {
    let Some(system) = CleanRoot::boot()? else { return Ok(()) };
    install(&system, &debian_package("0.1.0-0.1")?)?;
    system.shell(&format!(
        "echo \"{}\" >/usr/share/polkit-1/actions/org.debian.pcsc-lite.policy; systemctl restart polkit",
        policy()
    ))?;
    let daemon = system.shell("systemctl show --property MainPID --value cardbrokerd")?;
    system.shell("useradd --groups cardbroker anna")?;
    let mut member = system.command_as("anna", &["sh", "-c", "echo $$ >/tmp/member; exec sleep 600"]);
    let _member = Program::spawn(&mut member)?;
    let member = "$(until cat /tmp/member 2>/dev/null; do sleep 0.01; done)";

    assert_eq!(admitted(&system, &daemon)?, [true, true]);
    assert_eq!(admitted(&system, member)?, [false, false]);
    // Without the rule polkit refuses the daemon, too.
    system.shell(&format!("mv {RULE} /tmp; systemctl restart polkit"))?;
    assert_eq!(admitted(&system, &daemon)?, [false, false]);
    Ok(())
}
