//! Windows' services and policies for cards, as its own programs print them. Nothing is changed.

use std::process::{Command, Stdio};

use crate::doctor::windows::{PLUG_AND_PLAY, PROPAGATION, Service, WindowsCards, policy, service};

/// Asks the system's programs, of which each prints one answer.
pub(super) fn look() -> WindowsCards {
    WindowsCards {
        pcsc: state("SCardSvr"),
        propagation: state("CertPropSvc"),
        propagation_policy: value(PROPAGATION),
        plug_and_play_policy: value(PLUG_AND_PLAY),
    }
}

fn state(name: &str) -> Option<Service> {
    service(&output("sc.exe", &["query", name])?)
}

fn value((key, name): (&str, &str)) -> Option<bool> {
    policy(&output("reg.exe", &["query", key, "/v", name])?, name)
}

/// The output of the program of the system's own folder, whatever its exit code; `None` if it cannot be run.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let root = std::env::var_os("SystemRoot")?;
    let path = std::path::Path::new(&root).join("System32").join(program);
    let printed = Command::new(path).args(arguments).stdin(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&printed.stdout).into_owned())
}
