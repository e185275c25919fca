//! Windows' services and policies for cards, as its own programs print them. Nothing is changed.

use std::{
    io::Read,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use crate::doctor::windows::{PLUG_AND_PLAY, PROPAGATION, Policy, Service, WindowsCards, policy, service};

/// The time for the answers of all programs, which are then ended. A service control manager that hangs gives none. A
/// virus scanner may take seconds for the first start of a program.
const LIMIT: Duration = Duration::from_secs(5);

/// The maximum bytes of an answer, which has some lines.
const MAX_BYTES: u64 = 64 << 10;

/// A program of the system that runs, and its output once it is complete.
struct Started {
    program: Child,
    output: Receiver<Vec<u8>>,
}

/// Asks the programs of the system's `folder`, of which each prints one answer. They run at once and share the time.
pub(super) fn look(folder: &Path) -> WindowsCards {
    let deadline = Instant::now() + LIMIT;
    let start = |program, arguments: &[&str]| start(&folder.join(program), arguments);
    let [pcsc, propagation] = ["SCardSvr", "CertPropSvc"].map(|name| start("sc.exe", &["query", name]));
    let [certificates, plug_and_play] =
        [PROPAGATION, PLUG_AND_PLAY].map(|(key, name)| start("reg.exe", &["query", key, "/v", name]));
    let state = |started: Option<Started>| -> Option<Service> { service(&started?.answer(deadline)?) };
    let value = |started: Option<Started>, name| -> Option<Policy> { Some(policy(&started?.answer(deadline)?, name)) };
    WindowsCards {
        pcsc: state(pcsc),
        propagation: state(propagation),
        propagation_policy: value(certificates, PROPAGATION.1),
        plug_and_play_policy: value(plug_and_play, PLUG_AND_PLAY.1),
    }
}

/// Starts the program; `None` if it cannot be run.
fn start(program: &Path, arguments: &[&str]) -> Option<Started> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut program = command.spawn().ok()?;
    let (done, output) = mpsc::channel();
    let printed = program.stdout.take();
    let read = move || {
        let mut bytes = Vec::new();
        if printed.is_some_and(|printed| printed.take(MAX_BYTES).read_to_end(&mut bytes).is_ok()) {
            // Nobody waits for an answer that is late.
            let _ = done.send(bytes);
        }
    };
    // The thread ends with the program. Without a thread there is no answer.
    let _ = thread::Builder::new().spawn(read);
    Some(Started { program, output })
}

impl Started {
    /// The output, whatever the exit code; `None` if there is none in time. Ends the program.
    fn answer(mut self, deadline: Instant) -> Option<String> {
        let answer = self.output.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        // Mostly it has ended.
        let _ = self.program.kill();
        let _ = self.program.wait();
        Some(String::from_utf8_lossy(&answer.ok()?).into_owned())
    }
}
