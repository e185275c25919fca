//! Windows' services and policies for cards, as its own programs print them. Nothing is changed.

use std::{
    io::Read,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::doctor::windows::{PLUG_AND_PLAY, PROPAGATION, Service, WindowsCards, policy, service};

/// The time for the answer of a program, which is then ended. A service control manager that hangs gives none.
const LIMIT: Duration = Duration::from_secs(1);

/// The maximum bytes of an answer, which has some lines.
const MAX_BYTES: u64 = 64 << 10;

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

/// The output of the program of the system's own folder, whatever its exit code; `None` if it cannot be run, or gives
/// no answer in time.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let root = std::env::var_os("SystemRoot")?;
    let path = std::path::Path::new(&root).join("System32").join(program);
    let mut command = Command::new(path);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut program = command.spawn().ok()?;
    let printed = program.stdout.take()?;
    let (done, answer) = mpsc::channel();
    // It ends with the program.
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if printed.take(MAX_BYTES).read_to_end(&mut bytes).is_ok() {
            // Nobody waits for an answer that is late.
            let _ = done.send(bytes);
        }
    });
    let answer = answer.recv_timeout(LIMIT);
    // Mostly it has ended.
    let _ = program.kill();
    let _ = program.wait();
    Some(String::from_utf8_lossy(&answer.ok()?).into_owned())
}
