//! PC/SC on this machine: its service, polkit, and other programs that use readers.

use cardbroker_client::{ReaderState, diagnostics::PcscState};

use super::pcsc_state;
use crate::doctor::{
    facts::{Door, Facts, Found, Pcsc, Process},
    finding::Finding,
};

/// The rule of polkit that admits a user to PC/SC. The package contains one for its own user.
const RULE: &str = "\
polkit.addRule(function (action, subject) {
    var isPcsc = action.id == \"org.debian.pcsc-lite.access_pcsc\" || action.id == \"org.debian.pcsc-lite.access_card\";
    if (isPcsc && subject.user == \"USER\") return polkit.Result.YES;
});";

/// Programs that use cards beside a broker: their names as `/proc/PID/comm` has them, which are at most 15 bytes, and
/// how they let go.
const PROGRAMS: &[(&str, &str)] = &[
    ("scdaemon", "gpgconf --kill scdaemon"),
    ("pcsc_scan", "End pcsc_scan (Ctrl-C)."),
    ("opensc-tool", "Wait until opensc-tool has ended."),
    ("pkcs11-tool", "Wait until pkcs11-tool has ended."),
    ("ssh-agent", "ssh-add -e /PATH/TO/PKCS11-MODULE.so"),
    ("ssh-pkcs11-help", "ssh-add -e /PATH/TO/PKCS11-MODULE.so"),
    ("firefox", "Remove OpenSC under Settings, Security Devices, or end Firefox."),
    ("firefox-esr", "Remove OpenSC under Settings, Security Devices, or end Firefox."),
    ("chrome", "End the browser, or remove OpenSC from its NSS database (modutil)."),
    ("chromium", "End the browser, or remove OpenSC from its NSS database (modutil)."),
    ("ykman", "End ykman."),
    ("yubico-authenti", "End the Yubico Authenticator."),
];

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let Some(pcsc) = facts.pcsc.as_ref() else { return Vec::new() };
    let state = pcsc_state(facts);
    match state {
        Some(PcscState::Simulated) => {
            return vec![Finding::ok("PC/SC", "simulated", "the broker's readers are simulated; PC/SC is not used")];
        }
        Some(PcscState::Serving) => {
            let serving = Finding::ok("PC/SC", "serving", "PC/SC serves the broker");
            return std::iter::once(serving).chain(keepers(pcsc)).collect();
        }
        _ => {}
    }
    // Readers that work show that the broker has what it needs, wherever that is.
    if state.is_none() && has_usable_reader(facts) {
        return keepers(pcsc).into_iter().collect();
    }
    let mut findings = vec![service(pcsc)];
    findings.extend(polkit(facts, pcsc));
    findings.extend(keepers(pcsc));
    findings
}

fn has_usable_reader(facts: &Facts) -> bool {
    let usable = [ReaderState::Ready, ReaderState::Empty, ReaderState::Settling];
    facts.readers.given().is_some_and(|readers| readers.iter().any(|reader| usable.contains(&reader.state())))
}

/// The finding for PC/SC's service, by its socket and its process.
fn service(pcsc: &Pcsc) -> Finding {
    let socket = pcsc.socket.display();
    match (pcsc.door, pcsc.runs) {
        (Door::Open, _) => Finding::ok("PC/SC", "accepts", format!("pcscd accepts connections at {socket}")),
        (Door::Missing, Some(true)) => {
            let text = format!("pcscd runs, but its socket {socket} is not there: it may be in another container");
            Finding::problem("PC/SC", "socket-lost", text).step("sudo systemctl restart pcscd.socket pcscd")
        }
        (Door::Missing, _) => {
            Finding::problem("PC/SC", "not-running", format!("pcscd does not run: there is no {socket}"))
                .step("sudo systemctl enable --now pcscd.socket")
                .step("sudo apt install pcscd")
                .step("cardbrokerd --simulate 2")
        }
        (Door::Refused, _) => {
            Finding::problem("PC/SC", "ended", format!("pcscd has ended: no process listens at {socket}"))
                .step("sudo systemctl restart pcscd.socket pcscd")
        }
        (Door::Forbidden, _) => {
            let text = format!("this user may not open pcscd's socket {socket}");
            Finding::problem("PC/SC", "forbidden", text).step(format!("ls -l {socket}"))
        }
        (Door::Stuck, _) => Finding::problem("PC/SC", "stuck", format!("pcscd does not answer at {socket}"))
            .step("sudo systemctl restart pcscd"),
    }
}

/// The finding for polkit, if it may be the cause: pcscd asks it, and the broker has no reader.
fn polkit(facts: &Facts, pcsc: &Pcsc) -> Option<Finding> {
    if pcsc.door != Door::Open {
        return None;
    }
    let broker = facts.status.given().and_then(|status| status.broker.as_ref());
    let problem = broker.and_then(|broker| broker.pcsc.as_ref()).map(|pcsc| pcsc.problem.as_str()).unwrap_or_default();
    let rule = |finding: Finding| {
        finding
            .step(format!("Put this into /etc/polkit-1/rules.d/50-cardbroker.rules, with the broker's user:\n{RULE}"))
    };
    // The contract has no other word for it.
    if problem.contains("denies access") {
        return Some(rule(Finding::problem("polkit", "denies", problem)));
    }
    if !problem.is_empty() {
        let unserved =
            Finding::problem("PC/SC", "does-not-serve", format!("PC/SC does not serve the broker: {problem}"));
        return Some(unserved.step("See the broker's log and pcscd's."));
    }
    // Without a broker this user would start one; polkit admits root.
    let is_root = matches!(facts.found, Found::Nothing(_)) && facts.me.uid == Some(0);
    if !pcsc.asks_polkit || pcsc.has_rule == Some(true) || is_root {
        return None;
    }
    let whether = if pcsc.has_rule.is_none() { "; you may not read its rules" } else { ", and no rule names PC/SC" };
    let text = format!("pcscd asks polkit, which by default admits only users at the machine's own screen{whether}");
    Some(rule(Finding::warning("polkit", "no-rule", text)))
}

/// A warning of programs that run and are known to keep cards.
fn keepers(pcsc: &Pcsc) -> Option<Finding> {
    let first = pcsc.keepers.first()?;
    let text = format!("{} once it has used it: the broker or it then waits in vain", keeps(&pcsc.keepers));
    let warning = Finding::warning("other programs", "keepers", text);
    Some(match first.program.as_str() {
        "scdaemon" => warning
            .step("gpgconf --kill scdaemon")
            .step("echo 'card-timeout 5' >> ~/.gnupg/scdaemon.conf")
            .step("own = \"on_demand\" for the reader, to share it: see \"Beside gpg and browsers\" in the manual"),
        program => warning.step(advice(program, first.pid)),
    })
}

fn keeps(processes: &[Process]) -> String {
    let verb = if processes.len() == 1 { "keeps" } else { "keep" };
    format!("{} {verb} a card", listed(processes))
}

/// The finding for a reader that another program holds.
pub(super) fn held(facts: &Facts, text: String) -> Finding {
    let Some(pcsc) = &facts.pcsc else {
        return Finding::problem("reader", "held-elsewhere", text).step("End the program that holds the card.");
    };
    if pcsc.clients.is_empty() {
        let unknown = if pcsc.sees_all {
            "; no process on this machine has a connection to PC/SC: it may be in another container"
        } else {
            "; only root sees which one"
        };
        let held = Finding::problem("reader", "held-elsewhere", format!("{text}{unknown}"));
        let held = if pcsc.sees_all { held } else { held.step("sudo cardbroker doctor") };
        return held.step("gpgconf --kill scdaemon");
    }
    let who = match (pcsc.clients.len(), pcsc.sees_all) {
        (1, true) => format!("; the only one with a connection to PC/SC is {}", listed(&pcsc.clients)),
        (_, true) => format!("; these have connections to PC/SC: {}", listed(&pcsc.clients)),
        (_, false) => {
            format!("; of your own, these have connections to PC/SC: {}; root sees all", listed(&pcsc.clients))
        }
    };
    let held = Finding::problem("reader", "held-elsewhere", format!("{text}{who}"));
    pcsc.clients.iter().fold(held, |held, client| held.step(advice(&client.program, client.pid)))
}

fn listed(processes: &[Process]) -> String {
    let one = |process: &Process| format!("\"{}\" (process {}, user {})", process.program, process.pid, process.user);
    processes.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// How to make a program let go of its card.
fn advice(program: &str, pid: u32) -> String {
    let known = PROGRAMS.iter().find(|(name, _)| *name == program);
    known.map_or_else(|| format!("kill {pid}"), |(_, advice)| (*advice).to_owned())
}
