//! `cardbroker exec`: programs and their children as one isolation group, with and without a door of their own.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cardbroker_client::ReaderState;
use cardbroker_tests::harness::{
    broker::{Broker, Setup, program},
    programs::Program,
    run::{Run, run},
};
use rustix::process::Signal;

use crate::world::{PROTECTED, VERIFY, tell, wait_for};

const READER: &str = "readers/simulated-reader-00";
/// PC/SC's name of the reader.
const SIMULATED: &str = "Simulated Reader 00";
const DIRECT: &str = env!("CARGO_BIN_EXE_direct-pcsc");
const LONGEST: Duration = Duration::from_secs(20);
/// The maximum number of private doors of one user.
const PRIVATE_DOORS: usize = 16;

async fn broker() -> anyhow::Result<Broker> {
    let broker = Setup::simulated(1)?.door("").start()?;
    wait_for(&broker, READER, ReaderState::Ready).await?;
    Ok(broker)
}

/// `cardbroker exec` at the broker, with these arguments.
fn exec(broker: &Broker, arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(program("cardbroker")?);
    command.arg("exec").args(arguments).env("CARDBROKER_ENDPOINT", broker.endpoint());
    Ok(command)
}

fn script(broker: &Broker, options: &[&str], script: &str) -> anyhow::Result<Run> {
    let cli = program("cardbroker")?;
    run(exec(broker, &[options, &["--", "sh", "-c", script]].concat())?.env("CLI", cli).env("DIRECT", DIRECT))
}

#[test]
fn a_script_of_short_programs_shares_a_verified_pin_until_it_ends() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let both = format!("\"$CLI\" transmit {READER} {VERIFY} && \"$CLI\" transmit {READER} {PROTECTED}");
        let shared = script(&broker, &[], &both)?;
        ensure!(shared.code == Some(0), "{shared:?}");
        let answers: Vec<_> = shared.out.lines().collect();
        assert!(answers.len() == 2 && answers.iter().all(|answer| answer.ends_with("9000")), "{shared:?}");
        let later = broker.cardbroker(&["transmit", READER, PROTECTED])?;
        assert!(later.out.trim().ends_with("6982"), "{later:?}");
        Ok(())
    })
}

#[test]
fn only_a_private_door_is_in_the_isolation_group() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let mixed = format!("\"$CLI\" transmit {READER} {VERIFY} && \"$DIRECT\" '{SIMULATED}' --send {PROTECTED}");
        let private = script(&broker, &["--private"], &mixed)?;
        assert!(private.code == Some(0) && private.out.contains("9000\"]"), "{private:?}");
        let main = script(&broker, &[], &mixed)?;
        assert!(main.code == Some(0) && main.out.contains("6982\"]"), "{main:?}");
        Ok(())
    })
}

#[test]
fn exit_codes_are_those_of_the_program() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let code = |script_text: &str| Ok::<_, anyhow::Error>(script(&broker, &[], script_text)?.code);
        assert_eq!(code("exit 0")?, Some(0));
        assert_eq!(code("exit 77")?, Some(77));
        assert_eq!(code("kill -KILL $$")?, Some(137));
        assert_eq!(run(&mut exec(&broker, &["--", "/nobody/has/this"])?)?.code, Some(127));
        let file = broker.folder().join("cardbrokerd.toml").display().to_string();
        assert_eq!(run(&mut exec(&broker, &["--", &file])?)?.code, Some(126));
        let nobody = run(
            exec(&broker, &["--connect-timeout", "0s", "--", "true"])?.env("CARDBROKER_ENDPOINT", "unix:/nobody/x")
        )?;
        assert_eq!(nobody.code, Some(3), "{nobody:?}");
        Ok(())
    })
}

/// Prints a line for each signal, and ends at SIGTERM.
const TELLS: &str = "trap 'echo usr1' USR1; trap 'echo usr2' USR2; trap 'echo term; exit 3' TERM
echo ready; for i in $(seq 1200); do sleep 0.05; done";

#[test]
fn signals_reach_the_program_once() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let mut telling = Program::spawn(&mut exec(&broker, &["--", "sh", "-c", TELLS])?)?;
        assert_eq!(telling.line()?, "ready");
        for (signal, told) in [(Signal::USR1, "usr1"), (Signal::USR2, "usr2"), (Signal::TERM, "term")] {
            telling.signal(signal)?;
            assert_eq!(telling.line()?, told);
        }
        assert_eq!(telling.wait()?.code(), Some(3));
        Ok(())
    })
}

/// Runs its arguments as the leader of a session with a terminal, and hangs up once they have printed `ready`.
const HANGS_UP: &str = "
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
while b'ready' not in os.read(terminal, 1024):
    pass
os.close(terminal)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

#[test]
fn the_end_of_the_terminal_reaches_the_program() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let told = "trap 'exit 4' HUP; echo ready; for i in $(seq 1200); do sleep 0.05; done";
        let exec = exec(&broker, &["--private", "--", "sh", "-c", told])?;
        let mut hung_up = Command::new("python3");
        hung_up.args(["-c", HANGS_UP]).arg(exec.get_program()).args(exec.get_args());
        hung_up.envs(exec.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let hung_up = run(&mut hung_up)?;
        assert_eq!(hung_up.code, Some(4), "{hung_up:?}");
        assert_eq!(private_doors(&broker)?, 0);
        Ok(())
    })
}

/// The folders of private doors.
fn private_doors(broker: &Broker) -> anyhow::Result<usize> {
    let names = fs::read_dir(broker.folder())?.flatten().map(|entry| entry.file_name());
    Ok(names.filter(|name| name.to_string_lossy().contains(".private-")).count())
}

fn wait_until(condition: impl Fn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + LONGEST;
    while !condition()? {
        ensure!(Instant::now() < deadline, "it does not come true");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[test]
fn a_killed_exec_closes_its_private_door_and_ends_its_group() -> anyhow::Result<()> {
    tell(async {
        let mut broker = broker().await?;
        let verify = format!("\"$CLI\" transmit {READER} {VERIFY}; sleep 60");
        let mut command = exec(&broker, &["--private", "--", "sh", "-c", &verify])?;
        let mut private = Program::spawn(command.env("CLI", program("cardbroker")?))?;
        assert_eq!(private.line()?, "9000");
        assert_eq!(private_doors(&broker)?, 1);
        private.signal(Signal::KILL)?;
        wait_until(|| Ok(private_doors(&broker)? == 0))?;
        let later = broker.cardbroker(&["transmit", READER, PROTECTED])?;
        assert!(later.out.trim().ends_with("6982"), "{later:?}");

        let mut command = exec(&broker, &["--private", "--", "sh", "-c", "echo ready; sleep 60"])?;
        let mut left = Program::spawn(&mut command)?;
        assert_eq!(left.line()?, "ready");
        broker.kill()?;
        assert_eq!(private_doors(&broker)?, 1, "a crash leaves it behind");
        broker.start_again()?;
        wait_until(|| Ok(private_doors(&broker)? == 0))?;
        Ok(())
    })
}

#[test]
fn a_user_has_a_limited_number_of_private_doors_at_a_time() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let open = || -> anyhow::Result<Program> {
            let mut open =
                Program::spawn(&mut exec(&broker, &["--private", "--", "sh", "-c", "echo ready; read end"])?)?;
            ensure!(open.line()? == "ready");
            Ok(open)
        };
        let mut programs = (0..PRIVATE_DOORS).map(|_| open()).collect::<anyhow::Result<Vec<_>>>()?;
        let refused = script(&broker, &["--private"], "echo started")?;
        assert!(refused.code == Some(1) && refused.out.is_empty(), "{refused:?}");
        assert!(refused.err.contains("too many private doors"), "{refused:?}");
        assert_eq!(script(&broker, &[], "exit 0")?.code, Some(0), "the main door is for all");
        let mut ended = programs.pop().context("no program")?;
        ended.say("end")?;
        ended.wait()?;
        wait_until(|| Ok(private_doors(&broker)? < PRIVATE_DOORS))?;
        programs.push(open()?);
        assert_eq!(private_doors(&broker)?, PRIVATE_DOORS);
        Ok(())
    })
}

#[test]
fn the_program_starts_with_no_signal_blocked() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let blocked = "import signal; print(len(signal.pthread_sigmask(signal.SIG_BLOCK, [])))";
        let told = run(&mut exec(&broker, &["--", "python3", "-c", blocked])?)?;
        assert_eq!((told.code, told.out.trim()), (Some(0), "0"), "{told:?}");
        Ok(())
    })
}

#[test]
fn a_program_left_behind_loses_its_private_door() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let out = broker.folder().join("left");
        let out = out.display();
        // The program that is left behind has a verified PIN, and begins one transaction after the other.
        let left = format!(
            "\"$DIRECT\" '{SIMULATED}' --send {VERIFY} && \
             (\"$DIRECT\" '{SIMULATED}' --pairs 100000000 >/dev/null 2>{out}.errors; echo over >{out}) >/dev/null 2>&1 &
             sleep 1"
        );
        let private = script(&broker, &["--private"], &left)?;
        assert_eq!(private.code, Some(0), "{private:?}");
        let file = broker.folder().join("left");
        wait_until(|| Ok(file.exists()))?;
        let later = broker.cardbroker(&["transmit", READER, PROTECTED])?;
        assert!(later.out.trim().ends_with("6982"), "{later:?}");
        Ok(())
    })
}

#[test]
fn without_a_door_a_restarted_broker_gets_the_group_again() -> anyhow::Result<()> {
    tell(async {
        let mut broker = Setup::simulated(1)?.start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        // Two programs share a PIN only while something else is in the group between them.
        let script = format!(
            "echo ready; read go; for i in $(seq 100); do \
             \"$CLI\" transmit {READER} {VERIFY} >/dev/null 2>&1; \
             \"$CLI\" transmit {READER} {PROTECTED} 2>&1 | grep -q 9000$ && echo shared && exit 0; \
             sleep 0.1; done; exit 1"
        );
        let mut command = exec(&broker, &["--", "sh", "-c", &script])?;
        let mut program = Program::spawn(command.env("CLI", program("cardbroker")?))?;
        assert_eq!(program.line()?, "ready");
        broker.kill()?;
        broker.start_again()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        program.say("go")?;
        assert_eq!(program.line()?, "shared");
        Ok(())
    })
}
