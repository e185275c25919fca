//! The use of cards by Windows itself: PC/SC's service, plug and play, and certificate propagation.

use cardbroker_client::diagnostics::PcscState;

use super::pcsc_state;
use crate::doctor::{
    facts::Facts,
    finding::Finding,
    windows::{PLUG_AND_PLAY, PROPAGATION, Policy, Service},
};

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let Some(windows) = &facts.windows else { return Vec::new() };
    if pcsc_state(facts) == Some(PcscState::Simulated) {
        return Vec::new();
    }
    let propagation = propagation(windows.propagation, windows.propagation_policy);
    let findings = [windows.pcsc.map(service), windows.plug_and_play_policy.map(plug_and_play), propagation];
    findings.into_iter().flatten().collect()
}

fn service(state: Service) -> Finding {
    match state {
        Service::Runs => Finding::ok("PC/SC", "runs", "the service \"Smart Card\" (SCardSvr) runs"),
        Service::Stopped => {
            let text = "the service \"Smart Card\" (SCardSvr) does not run: from Windows 8 on it stops with the last \
                        reader and starts with the first";
            Finding::warning("PC/SC", "stopped", text).step("Plug a reader in.").step("net start SCardSvr")
        }
        Service::Missing => {
            let text = "this Windows has no service \"Smart Card\" (SCardSvr)";
            Finding::problem("PC/SC", "no-service", text).step("Install Windows' support for smart cards.")
        }
    }
}

fn plug_and_play(policy: Policy) -> Finding {
    let (key, value) = PLUG_AND_PLAY;
    let check = "plug and play";
    if policy == Policy::Off {
        let text = "Smart Card Plug and Play is off, by a policy";
        return Finding::ok(check, "off", text).step(format!("reg delete {key} /v {value} /f"));
    }
    let text = "Windows itself uses each inserted card for a moment (Smart Card Plug and Play); as an administrator \
                you may switch that off";
    Finding::warning(check, "on-windows", text).step(set(key, value))
}

/// The finding for certificate propagation, if the system tells about it.
fn propagation(state: Option<Service>, policy: Option<Policy>) -> Option<Finding> {
    let check = "certificates";
    let (key, value) = PROPAGATION;
    Some(match (state?, policy) {
        (Service::Missing, _) => return None,
        (Service::Stopped, _) => {
            let text = "certificate propagation (CertPropSvc) does not run, so it reads no inserted card";
            Finding::ok(check, "propagation-stopped", text)
        }
        (Service::Runs, None) => return None,
        (Service::Runs, Some(Policy::Off)) => {
            let text = "certificate propagation is off, by a policy";
            Finding::ok(check, "propagation-off", text).step(format!("reg delete {key} /v {value} /f"))
        }
        (Service::Runs, Some(Policy::NotSet | Policy::On)) => {
            let text = "Windows reads certificates from each inserted card (certificate propagation, CertPropSvc); if \
                        no logon needs them, an administrator may stop that";
            Finding::warning(check, "propagation-runs", text)
                .step("net stop CertPropSvc")
                .step(set(key, value))
                .step("To start it again: net start CertPropSvc")
        }
    })
}

/// The command that switches a policy off.
fn set(key: &str, value: &str) -> String {
    format!("reg add {key} /v {value} /t REG_DWORD /d 0")
}
