//! The settings of a broker, and the start of its process.

use std::{
    fs::{self, File},
    io::PipeWriter,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, ensure};

use super::{
    builds::{program, released_daemon},
    pcscd::Pcscd,
    run::{self, cardbroker},
};

/// The settings of a broker before its start.
pub struct Setup {
    pub(super) folder: tempfile::TempDir,
    arguments: Vec<String>,
    pcsc_socket: Option<PathBuf>,
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
}

impl Setup {
    /// A broker on `count` simulated readers.
    ///
    /// # Errors
    /// No temporary folder can be made.
    pub fn simulated(count: usize) -> anyhow::Result<Self> {
        Self::new(vec!["--simulate".into(), count.to_string()], None)
    }

    /// A broker on the readers of a recorded trace.
    ///
    /// # Errors
    /// No temporary folder can be made.
    pub fn replaying(trace: &Path) -> anyhow::Result<Self> {
        Self::new(vec!["--simulate-from".into(), trace.display().to_string()], None)
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
            new_folder: false,
            plain_tcp: false,
            released: false,
            daemon: None,
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
            let mut new = cardbroker("", &["token", "new", name, "--tokens", &tokens, "--out", &out])?;
            let run = run::run(new.args(self.plain_tcp.then_some("--plain")))?;
            ensure!(run.code == Some(0), "{run:?}");
        }
        self.arguments.extend(["--tcp", "127.0.0.1:0", "--tokens", &tokens].map(str::to_owned));
        Ok(self)
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
    /// The operating system's error.
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

    pub(super) fn socket(&self) -> PathBuf {
        let folder = self.folder.path();
        if self.new_folder { folder.join("above/new/cardbroker.sock") } else { folder.join("cardbroker.sock") }
    }

    /// Starts the process, with the configuration file as it is now.
    pub(super) fn spawn(&mut self) -> anyhow::Result<Child> {
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
        let mut command = Command::new(daemon);
        command
            .arg("--socket")
            .arg(self.socket())
            .arg("--config")
            .arg(folder.join("cardbrokerd.toml"))
            .args(["--log", self.log_level])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if let Some(socket) = &self.pcsc_socket {
            command.env("PCSCLITE_CSOCK_NAME", socket);
        }
        command.spawn().context("cannot start cardbrokerd")
    }
}

/// The path of the file with the token called `name`.
pub(super) fn token_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.token"))
}
