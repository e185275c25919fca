//! The broker for Windows in the place of that for Linux, for the stories: `cardbrokerd.exe` in Wine on a pipe of its
//! own, and a relay at the story's socket. The relay passes bytes on to `pipe-bridge.exe`, which opens the pipe.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpStream},
    os::unix::{
        ffi::OsStrExt,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::Context;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};

/// The variable that makes the stories use the broker for Windows. `tests/windows/linux-stories` sets it to the path of
/// a file that gets the name of each story that starts one.
const VARIABLE: &str = "CARDBROKERD_IN_WINE";

/// Texts of the lines that Wine itself writes when it lacks FreeType; see `tests/windows/run-in-wine`.
const NOISE: [&str; 4] =
    ["FreeType font library", "use TrueType fonts please", "or equal to 2.0.5", "www.freetype.org"];

/// A command that runs a program of the Windows build in Wine.
///
/// # Errors
/// This program does not run by `tests/windows/in-wine-namespace`.
pub fn program(name: &str) -> anyhow::Result<Command> {
    let (wine, folder) = (env::var_os("RUN_IN_WINE"), env::var_os("WINDOWS_PROGRAMS"));
    let (wine, folder) = wine.zip(folder).context("run the stories by tests/windows/in-wine-namespace")?;
    let mut command = Command::new(wine);
    command.arg(PathBuf::from(folder).join(format!("{name}.exe")));
    Ok(command)
}

/// A path of this machine as a Windows program writes it.
pub fn path(path: &Path) -> String {
    format!("Z:{}", path.display()).replace('/', r"\")
}

/// The pipe of a story's broker, and the relay in front of it.
pub(super) struct Gate {
    pipe: String,
    /// Waits for the end of the broker, and then closes the relay.
    watcher: Option<JoinHandle<()>>,
}

impl Gate {
    /// The gate of a new broker; `None` if the stories use the broker for Linux.
    pub(super) fn of_environment() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        env::var_os(VARIABLE)?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let pipe = format!(r"\\.\pipe\cardbroker\linux-story-{}-{number}", process::id());
        Some(Self { pipe, watcher: None })
    }

    /// The command that runs the broker on the pipe, with these further arguments.
    ///
    /// # Errors
    /// The errors of [`program`], or of writing the story's name.
    pub(super) fn command(&self, arguments: &[OsString]) -> anyhow::Result<Command> {
        let mut used = File::options().append(true).create(true).open(env::var_os(VARIABLE).context("not set")?)?;
        // The test program names the thread of a story after it.
        writeln!(used, "{}", thread::current().name().unwrap_or_default())?;
        let mut command = program("cardbrokerd")?;
        command.args(["--socket", &self.pipe]).args(arguments.iter().map(|argument| translated(argument)));
        Ok(command)
    }

    /// Whether the broker serves its pipe.
    ///
    /// # Errors
    /// The bridge has failed.
    pub(super) fn is_served(&self) -> anyhow::Result<bool> {
        Ok(connect(&self.pipe)?.is_some())
    }

    /// Starts the relay at `socket`. It ends with the broker's process.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub(super) fn open(&mut self, socket: PathBuf, broker: Pid) -> anyhow::Result<()> {
        fs::create_dir_all(socket.parent().context("no folder")?)?;
        let listener = UnixListener::bind(&socket)?;
        let has_ended = Arc::new(AtomicBool::new(false));
        let (pipe, flag) = (self.pipe.clone(), Arc::clone(&has_ended));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if flag.load(Ordering::Acquire) {
                    break;
                }
                let pipe = pipe.clone();
                // An error is the end of the connection.
                thread::spawn(move || carry(&client, &pipe));
            }
        });
        self.watcher = Some(thread::spawn(move || {
            // An error means that its end has been seen already.
            let _ = waitid(WaitId::Pid(broker), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
            has_ended.store(true, Ordering::Release);
            // Wakes the listener, whose socket then goes as that of a broker does.
            let _ = UnixStream::connect(&socket);
            let _ = fs::remove_file(&socket);
        }));
        Ok(())
    }

    /// Waits for the end of the relay, after that of the broker.
    pub(super) fn close(&mut self) {
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
    }
}

/// The text of a configuration with the paths of Windows.
pub(super) fn configuration(toml: &str) -> String {
    let quoted = |(index, text): (usize, &str)| match index % 2 {
        1 if text.starts_with('/') => path(Path::new(text)).replace('\\', r"\\"),
        _ => text.to_owned(),
    };
    toml.split('"').enumerate().map(quoted).collect::<Vec<_>>().join("\"")
}

/// The signal that has the effect of `signal` on a Windows program in Wine: SIGINT is Ctrl-C there.
pub(super) fn signal(signal: Signal) -> Signal {
    if signal == Signal::TERM { Signal::INT } else { signal }
}

/// A log without the lines that Wine itself writes.
pub(super) fn without_noise(log: &str) -> String {
    log.split_inclusive('\n').filter(|line| !NOISE.iter().any(|noise| line.contains(noise))).collect()
}

fn translated(argument: &OsStr) -> OsString {
    if argument.as_bytes().starts_with(b"/") { path(Path::new(argument)).into() } else { argument.to_owned() }
}

/// Carries the bytes of a client to the pipe, and those of the pipe back.
fn carry(client: &UnixStream, pipe: &str) -> anyhow::Result<()> {
    let Some(broker) = connect(pipe)? else { return Ok(()) };
    let (mut answers, mut back) = (broker.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut answers, &mut back);
        back.shutdown(Shutdown::Both)
    });
    let _ = io::copy(&mut &*client, &mut &broker);
    Ok(broker.shutdown(Shutdown::Both)?)
}

/// Opens a pipe by the bridge; `None` if nobody serves it.
fn connect(pipe: &str) -> anyhow::Result<Option<TcpStream>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, bridge()?))?;
    stream.set_nodelay(true)?;
    stream.write_all(format!("{pipe}\n").as_bytes())?;
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    Ok((answer == *b"+").then_some(stream))
}

/// The port of the bridge, which the first call starts. The bridge ends with this program.
fn bridge() -> anyhow::Result<u16> {
    static BRIDGE: OnceLock<Result<(Child, u16), String>> = OnceLock::new();
    let bridge = BRIDGE.get_or_init(|| start_bridge().map_err(|error| format!("{error:#}")));
    bridge.as_ref().map(|(_, port)| *port).map_err(|error| anyhow::anyhow!("no bridge to pipes: {error}"))
}

fn start_bridge() -> anyhow::Result<(Child, u16)> {
    let mut process = program("pipe-bridge")?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(process.stdout.take().context("no output")?).read_line(&mut line)?;
    let port = line.trim().parse().with_context(|| format!("no port: {line:?}"))?;
    Ok((process, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_those_of_windows() {
        let toml = "listen.tokens = \"/tmp/a/tokens\"\n[[rule]]\nreader = \"a*/b\"\n";
        let expected = "listen.tokens = \"Z:\\\\tmp\\\\a\\\\tokens\"\n[[rule]]\nreader = \"a*/b\"\n";
        assert_eq!(configuration(toml), expected);
        assert_eq!(translated(OsStr::new("/tmp/c.toml")), r"Z:\tmp\c.toml");
        assert_eq!(translated(OsStr::new("127.0.0.1:0")), "127.0.0.1:0");
    }
}
