//! The settings of a broker, and the start of its process.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, PipeWriter},
    net::TcpListener,
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt, net::UnixListener},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, ensure};

use super::{
    builds::{program, released_daemon},
    habits::Habits,
    pcscd::Pcscd,
    run::{self, cardbroker},
    windows::Gate,
};

/// The settings of a broker before its start.
pub struct Setup {
    pub(super) folder: tempfile::TempDir,
    arguments: Vec<String>,
    /// Variables of the daemon's environment.
    environment: Vec<(String, OsString)>,
    pub(super) configuration: String,
    log_level: &'static str,
    log_pipe: Option<PipeWriter>,
    new_folder: bool,
    /// Whether the TCP port has no TLS.
    pub(super) plain_tcp: bool,
    /// Whether to run the release build of the daemon instead of the tests' build.
    released: bool,
    /// Another build of the daemon to run instead.
    daemon: Option<PathBuf>,
    /// The command that runs the daemon, in front of it.
    prefix: Vec<String>,
    /// The sockets that the daemon is started with, instead of making its own.
    inherited: Option<Inherited>,
    /// The pipe of the broker for Windows; `None` if the broker is that for Linux.
    pub(super) windows: Option<Gate>,
}

/// Sockets as a service manager makes them. They stay open when the daemon ends.
struct Inherited {
    socket: UnixListener,
    /// A TCP socket, or the socket of the door.
    second: Option<OwnedFd>,
}

/// Gives the program its standard input, and with two sockets its standard output, as sockets of a service manager.
const ACTIVATE: &str = "export LISTEN_PID=$$ LISTEN_FDS=\"$1\"; shift; exec \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null";

impl Setup {
    /// A broker on `count` simulated readers.
    ///
    /// # Errors
    /// No temporary folder can be made.
    pub fn simulated(count: usize) -> anyhow::Result<Self> {
        Self::new(vec!["--simulate".into(), count.to_string()], Vec::new())
    }

    /// A broker on the readers of a recorded trace.
    ///
    /// # Errors
    /// No temporary folder can be made.
    pub fn replaying(trace: &Path) -> anyhow::Result<Self> {
        Self::new(vec!["--simulate-from".into(), trace.display().to_string()], Vec::new())
    }

    /// A broker on the readers of a private pcscd.
    ///
    /// # Errors
    /// No temporary folder can be made.
    pub fn on(pcscd: &Pcscd) -> anyhow::Result<Self> {
        Self::new(Vec::new(), vec![("PCSCLITE_CSOCK_NAME".to_owned(), pcscd.socket().into())])
    }

    /// A broker whose PC/SC service is the one at `socket`.
    ///
    /// # Errors
    /// No temporary folder can be made.
    pub fn behind(socket: PathBuf) -> anyhow::Result<Self> {
        Self::new(Vec::new(), vec![("PCSCLITE_CSOCK_NAME".to_owned(), socket.into())])
    }

    fn new(arguments: Vec<String>, environment: Vec<(String, OsString)>) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("broker-").tempdir()?;
        Ok(Self {
            folder,
            arguments,
            environment,
            configuration: String::new(),
            log_level: "debug",
            log_pipe: None,
            new_folder: false,
            plain_tcp: false,
            released: false,
            daemon: None,
            prefix: Vec::new(),
            inherited: None,
            windows: Gate::of_environment(),
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

    /// Gives the daemon's PC/SC these habits.
    pub fn habits(mut self, habits: &Habits) -> Self {
        self.environment.extend(habits.variables().map(|(name, value)| (name.to_owned(), value.into())));
        self
    }

    /// Adds the door for PC/SC programs, with these further lines of its section. Comes after the text of the
    /// configuration file, which it completes.
    pub fn door(mut self, lines: &str) -> Self {
        let socket = format!("[pcsclite]\nsocket = \"{}\"\n{lines}\n", self.door_socket().display());
        self.configuration.push_str(&socket);
        self
    }

    /// The path of the door's socket.
    pub fn door_socket(&self) -> PathBuf {
        self.folder.path().join("pcscd.comm")
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
    pub fn tcp(self, names: &[&str]) -> anyhow::Result<Self> {
        Ok(self.tokens(names)?.flag("--tcp").flag("127.0.0.1:0"))
    }

    /// Makes a token for each of `names`, by the command line.
    fn tokens(mut self, names: &[&str]) -> anyhow::Result<Self> {
        let tokens = self.folder.path().join("tokens").display().to_string();
        for name in names {
            let out = token_file(self.folder.path(), name).display().to_string();
            let mut new = cardbroker("", &["token", "new", name, "--tokens", &tokens, "--out", &out])?;
            let run = run::run(new.args(self.plain_tcp.then_some("--plain")))?;
            ensure!(run.code == Some(0), "{run:?}");
        }
        self.arguments.extend(["--tokens", &tokens].map(str::to_owned));
        Ok(self)
    }

    /// Starts the daemon with a Unix socket that exists already, at the usual path, as a service manager does.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn inherit(mut self) -> anyhow::Result<Self> {
        let socket = UnixListener::bind(self.socket())?;
        self.inherited = Some(Inherited { socket, second: None });
        Ok(self)
    }

    /// Like [`Setup::inherit`], with a socket at the door's path beside it, which the configuration must name.
    ///
    /// # Errors
    /// A socket cannot be made.
    pub fn inherit_with_door(self) -> anyhow::Result<Self> {
        let mut setup = self.inherit()?;
        let door = UnixListener::bind(setup.door_socket())?;
        if let Some(inherited) = &mut setup.inherited {
            inherited.second = Some(door.into());
        }
        Ok(setup)
    }

    /// Like [`Setup::inherit`], with a TCP socket beside it and a token for each of `names`.
    ///
    /// # Errors
    /// A socket or a token cannot be made.
    pub fn inherit_with_tcp(self, names: &[&str]) -> anyhow::Result<Self> {
        let mut setup = self.tokens(names)?.inherit()?;
        if let Some(inherited) = &mut setup.inherited {
            inherited.second = Some(TcpListener::bind("127.0.0.1:0")?.into());
        }
        Ok(setup)
    }

    /// Sets a variable in the daemon's environment.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Runs the daemon by another program, which gets the daemon's command line as its last arguments.
    pub fn run_by(mut self, prefix: &[&str]) -> Self {
        self.prefix = prefix.iter().map(|&word| word.into()).collect();
        self
    }

    /// Also listens on a free TCP port, without TLS. Otherwise like [`Setup::tcp`].
    ///
    /// # Errors
    /// The errors of [`Setup::tcp`].
    pub fn plain_tcp(mut self, names: &[&str]) -> anyhow::Result<Self> {
        self.plain_tcp = true;
        self.tcp(names)
    }

    /// Lets other users enter the broker's folder.
    ///
    /// # Errors
    /// An error of the operating system.
    pub fn open_folder(self) -> anyhow::Result<Self> {
        fs::set_permissions(self.folder.path(), fs::Permissions::from_mode(0o711))?;
        Ok(self)
    }

    /// Puts the socket into a folder that the broker makes, in the folder `above`.
    ///
    /// # Errors
    /// That folder cannot be made.
    pub fn new_folder(mut self) -> anyhow::Result<Self> {
        fs::create_dir(self.folder.path().join("above"))?;
        self.new_folder = true;
        Ok(self)
    }

    /// Uses the release build of the daemon. The compiler leaves other values on its stacks than in a debug build.
    pub fn released(mut self) -> Self {
        self.released = true;
        self
    }

    /// Uses the daemon at `path`, for example one of an earlier version.
    pub fn daemon(mut self, path: &Path) -> Self {
        self.daemon = Some(path.to_owned());
        self
    }

    pub(super) fn inherited_socket(&self) -> io::Result<Option<OwnedFd>> {
        let socket = self.inherited.as_ref().map(|inherited| inherited.socket.try_clone());
        Ok(socket.transpose()?.map(OwnedFd::from))
    }

    pub(super) fn socket(&self) -> PathBuf {
        let folder = self.folder.path();
        if self.new_folder { folder.join("above/new/cardbroker.sock") } else { folder.join("cardbroker.sock") }
    }

    /// Starts the process, with the configuration file as it is now.
    pub(super) fn spawn(&mut self) -> anyhow::Result<Child> {
        if self.windows.is_some() {
            return self.spawn_on_windows();
        }
        let folder = self.folder.path();
        let log = match self.log_pipe.take() {
            Some(pipe) => Stdio::from(pipe),
            None => File::options().create(true).append(true).open(folder.join("log"))?.into(),
        };
        let daemon = match &self.daemon {
            Some(path) => path.clone(),
            None if self.released => released_daemon()?,
            None => program("cardbrokerd")?,
        };
        let mut line: Vec<OsString> = self.prefix.iter().map(Into::into).collect();
        line.push(daemon.into());
        if self.inherited.is_none() {
            line.extend(["--socket".into(), self.socket().into()]);
        }
        line.extend(self.settings());
        let (stdin, stdout) = match &self.inherited {
            None => (Stdio::null(), Stdio::null()),
            Some(Inherited { socket, second }) => {
                let count = if second.is_some() { "2" } else { "1" };
                line.splice(..0, ["sh", "-c", ACTIVATE, "sh", count].map(Into::into));
                let second = second.as_ref().map(OwnedFd::try_clone).transpose()?;
                (OwnedFd::from(socket.try_clone()?).into(), second.map_or_else(Stdio::null, Stdio::from))
            }
        };
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).envs(self.environment.iter().cloned()).stdin(stdin).stdout(stdout).stderr(log);
        command.spawn().context("cannot start cardbrokerd")
    }

    /// The arguments for the broker on either system.
    fn settings(&self) -> Vec<OsString> {
        let mut settings = vec!["--config".into(), self.folder.path().join("cardbrokerd.toml").into()];
        settings.extend(["--log", self.log_level].map(Into::into));
        settings.extend(self.arguments.iter().map(Into::into));
        settings
    }

    /// Starts the process of the broker for Windows.
    fn spawn_on_windows(&mut self) -> anyhow::Result<Child> {
        let is_usual = self.prefix.is_empty() && self.inherited.is_none() && self.daemon.is_none() && !self.released;
        ensure!(is_usual, "the broker for Windows has no such start");
        let mut command = self.windows.as_ref().context("no pipe")?.command(&self.settings())?;
        match self.log_pipe.take() {
            Some(pipe) => command.stderr(pipe),
            None => command.env("WINE_OUTPUT", self.folder.path().join("log")),
        };
        command.envs(self.environment.iter().cloned()).stdin(Stdio::null()).stdout(Stdio::null());
        command.spawn().context("cannot start cardbrokerd.exe")
    }
}

/// The path of the file with the token called `name`.
pub(super) fn token_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.token"))
}
