//! A broker for each test: the real `cardbrokerd` as a process, on a socket in a folder of its own.

use std::{
    fs::{self, File},
    io::{self, PipeWriter, Write},
    mem,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use cardbroker_client::{Client, ConnectOptions, Endpoint};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{
    LONGEST,
    pcscd::Pcscd,
    run::{self, Run, cardbroker},
};

/// The log counts as settled if it has not grown for this time: the broker writes a record shortly after its event.
const QUIET_TIME: Duration = Duration::from_millis(100);

/// A running broker. Dropping kills it; if the test is failing, its log is printed.
pub struct Broker {
    setup: Setup,
    process: Child,
}

/// The settings of a broker before its start.
pub struct Setup {
    folder: tempfile::TempDir,
    arguments: Vec<String>,
    pcsc_socket: Option<PathBuf>,
    configuration: String,
    log_level: &'static str,
    log_pipe: Option<PipeWriter>,
    default_socket: bool,
    /// Whether to run the release build of the daemon instead of the tests' build.
    released: bool,
}

impl Setup {
    /// A broker on `count` simulated readers.
    ///
    /// # Errors
    /// No temporary folder can be made.
    pub fn simulated(count: usize) -> anyhow::Result<Self> {
        Self::new(vec!["--simulate".into(), count.to_string()], None)
    }

    /// A broker on the readers of a private pcscd.
    ///
    /// # Errors
    /// No temporary folder can be made.
    pub fn on(pcscd: &Pcscd) -> anyhow::Result<Self> {
        Self::new(Vec::new(), Some(pcscd.socket()))
    }

    fn new(arguments: Vec<String>, pcsc_socket: Option<PathBuf>) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("broker-").tempdir()?;
        Ok(Self {
            folder,
            arguments,
            pcsc_socket,
            configuration: String::new(),
            log_level: "debug",
            log_pipe: None,
            default_socket: false,
            released: false,
        })
    }

    /// Adds a flag to the daemon's command line.
    pub fn flag(mut self, flag: &str) -> Self {
        self.arguments.push(flag.into());
        self
    }

    /// Sets the text of the configuration file.
    pub fn configuration(mut self, toml: &str) -> Self {
        self.configuration = toml.into();
        self
    }

    /// Sets the log level; the default is `debug`.
    pub fn log_level(mut self, level: &'static str) -> Self {
        self.log_level = level;
        self
    }

    /// Sends the log of the first start to this pipe instead of a file.
    pub fn log_pipe(mut self, pipe: PipeWriter) -> Self {
        self.log_pipe = Some(pipe);
        self
    }

    /// Also listens on a free TCP port, with a token for each of `names`, made by the command line.
    ///
    /// # Errors
    /// The command line cannot make the tokens.
    pub fn tcp(mut self, names: &[&str]) -> anyhow::Result<Self> {
        let tokens = self.folder.path().join("tokens").display().to_string();
        for name in names {
            let out = token_file(self.folder.path(), name).display().to_string();
            let run = run::run(&mut cardbroker("", &["token", "new", name, "--tokens", &tokens, "--out", &out])?)?;
            ensure!(run.code == Some(0), "{run:?}");
        }
        self.arguments.extend(["--tcp", "127.0.0.1:0", "--tokens", &tokens].map(str::to_owned));
        Ok(self)
    }

    /// Lets other users enter the broker's folder.
    ///
    /// # Errors
    /// The operating system's error.
    pub fn open_folder(self) -> anyhow::Result<Self> {
        fs::set_permissions(self.folder.path(), fs::Permissions::from_mode(0o711))?;
        Ok(self)
    }

    /// Uses the default socket, with the broker's folder as the user's runtime folder.
    pub fn default_socket(mut self) -> Self {
        self.default_socket = true;
        self
    }

    /// Uses the release build of the daemon. The compiler leaves other values on its stacks than in a debug build.
    pub fn released(mut self) -> Self {
        self.released = true;
        self
    }

    /// Starts the broker and waits until it answers.
    ///
    /// # Errors
    /// The broker ends, or does not answer within 20 s; the error has its log.
    pub fn start(mut self) -> anyhow::Result<Broker> {
        fs::write(self.folder.path().join("cardbrokerd.toml"), &self.configuration)?;
        let process = spawn(&mut self)?;
        let mut broker = Broker { setup: self, process };
        broker.wait_until_ready()?;
        Ok(broker)
    }

    fn socket(&self) -> PathBuf {
        let folder = self.folder.path();
        if self.default_socket { folder.join("cardbroker/cardbroker.sock") } else { folder.join("cardbroker.sock") }
    }
}

fn token_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.token"))
}

fn spawn(setup: &mut Setup) -> anyhow::Result<Child> {
    let folder = setup.folder.path();
    let log = match setup.log_pipe.take() {
        Some(pipe) => Stdio::from(pipe),
        None => File::options().create(true).append(true).open(folder.join("log"))?.into(),
    };
    let daemon = if setup.released { released_daemon()? } else { program("cardbrokerd")? };
    let mut command = Command::new(daemon);
    if setup.default_socket {
        command.env("XDG_RUNTIME_DIR", folder);
    } else {
        command.arg("--socket").arg(setup.socket());
    }
    command
        .arg("--config")
        .arg(folder.join("cardbrokerd.toml"))
        .args(["--log", setup.log_level])
        .args(&setup.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    if let Some(socket) = &setup.pcsc_socket {
        command.env("PCSCLITE_CSOCK_NAME", socket);
    }
    command.spawn().context("cannot start cardbrokerd")
}

impl Broker {
    /// The path of the broker's Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.setup.socket()
    }

    /// The broker's folder, with socket, configuration file and log.
    pub fn folder(&self) -> &Path {
        self.setup.folder.path()
    }

    /// The value of `CARDBROKER_ENDPOINT` for clients on the socket.
    pub fn endpoint(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    /// The value of `CARDBROKER_ENDPOINT` for clients on TCP; the log level must include `info`.
    ///
    /// # Errors
    /// The broker does not listen on TCP.
    pub fn tcp_endpoint(&self) -> anyhow::Result<String> {
        let deadline = Instant::now() + LONGEST;
        loop {
            let log = self.log();
            // In either form of a log line; the port is complete when another character follows it.
            let address = ["tcp=", "\"tcp\":\""].iter().find_map(|key| Some(log.rsplit_once(key)?.1));
            let address = address.and_then(|rest| rest.split_once(['\n', '"', ' ']));
            match address {
                Some((address, _)) => return Ok(format!("http://{address}")),
                None => ensure!(Instant::now() < deadline, "no TCP port: {log}"),
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The path of the file with the token called `name`.
    pub fn token_file(&self, name: &str) -> PathBuf {
        token_file(self.folder(), name)
    }

    /// A client on TCP with a connection of its own, and the token called `name`.
    ///
    /// # Errors
    /// The broker does not answer.
    pub async fn tcp_client(&self, name: &str) -> anyhow::Result<Client> {
        let options = ConnectOptions { token_file: Some(self.token_file(name)), ..ConnectOptions::default() };
        Ok(Client::connect_with(self.tcp_endpoint()?.parse()?, options).await?)
    }

    /// A client with a connection of its own.
    ///
    /// # Errors
    /// The broker does not answer.
    pub async fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(Endpoint::Unix(self.socket())).await?)
    }

    /// The id of the broker's process.
    pub fn pid(&self) -> anyhow::Result<Pid> {
        Pid::from_raw(i32::try_from(self.process.id())?).context("no process")
    }

    /// The log so far, as text.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder().join("log")).unwrap_or_default()
    }

    /// The log so far, once it has not grown for a moment; after 5 s in any case.
    pub fn settled_log(&self) -> String {
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut log = self.log();
        loop {
            thread::sleep(QUIET_TIME);
            let earlier = mem::replace(&mut log, self.log());
            if earlier.len() == log.len() || Instant::now() > deadline {
                return log;
            }
        }
    }

    /// Sends a signal to the broker's process.
    ///
    /// # Errors
    /// The broker has ended.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill_process(self.pid()?, signal)?)
    }

    /// Waits until the broker has ended.
    ///
    /// # Errors
    /// The broker has not ended within 30 s.
    pub fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        run::wait(&mut self.process, LONGEST).with_context(|| self.log())
    }

    /// Kills the broker (SIGKILL), like a crash.
    ///
    /// # Errors
    /// The operating system's error, on waiting for the process.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Starts the broker again after it has ended, with the same settings, and waits until it answers.
    ///
    /// # Errors
    /// The errors of [`Setup::start`].
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        self.process = spawn(&mut self.setup)?;
        self.wait_until_ready()
    }

    /// Runs the command line with this broker to its end.
    ///
    /// # Errors
    /// The errors of [`run::run`].
    pub fn cardbroker(&self, arguments: &[&str]) -> anyhow::Result<Run> {
        run::run(&mut cardbroker(&self.endpoint(), arguments)?)
    }

    /// Sends SIGTERM to the broker and waits until it has ended.
    ///
    /// # Errors
    /// The errors of [`Broker::wait`].
    pub fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait()
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + LONGEST;
        while std::os::unix::net::UnixStream::connect(self.socket()).is_err() {
            let ended = self.process.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                bail!("cardbrokerd did not start ({ended:?}): {}", self.log());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // An error means that it has already ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() || std::env::var_os("BROKER_LOG").is_some() {
            let _ = writeln!(io::stderr(), "--- log of cardbrokerd ---\n{}", self.log());
        }
    }
}

/// The path of one of the project's programs (`cardbrokerd`, `cardbroker`, or an example of the client), built from the
/// current sources, optimised if this program is.
///
/// # Errors
/// The program cannot be built, or does not exist.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    static PROGRAMS: Programs = Programs::new();
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let packages = ["cardbroker-server", "cardbroker", "cardbroker-client"].map(|package| ["--package", package]);
    find(&PROGRAMS, profile, &[&["--bins", "--examples"], packages.as_flattened()].concat(), name)
}

/// The path of the release build of `cardbrokerd`. The first call takes minutes if it was not built before.
///
/// # Errors
/// It cannot be built.
pub fn released_daemon() -> anyhow::Result<PathBuf> {
    static PROGRAMS: Programs = Programs::new();
    find(&PROGRAMS, "release", &["--bins", "--package", "cardbroker-server"], "cardbrokerd")
}

/// Programs by their names, or the error of the build.
type Programs = OnceLock<Result<Vec<(String, PathBuf)>, String>>;

fn find(programs: &Programs, profile: &str, what: &[&str], name: &str) -> anyhow::Result<PathBuf> {
    let programs = programs.get_or_init(|| build(profile, what).map_err(|error| format!("{error:#}")));
    let programs = programs.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?;
    let found = programs.iter().find(|(program, _)| program == name);
    found.map(|(_, path)| path.clone()).with_context(|| format!("the workspace has no program {name}"))
}

/// Builds programs and reads their paths from cargo's output.
fn build(profile: &str, what: &[&str]) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--message-format=json", "--profile", profile])
        .args(what)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "cargo build failed");
    let messages =
        output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let programs = messages.filter_map(|message| {
        let name = message["target"]["name"].as_str()?.to_owned();
        Some((name, PathBuf::from(message["executable"].as_str()?)))
    });
    Ok(programs.collect())
}
