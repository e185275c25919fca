//! Completions for bash, which splits words at `=` and `:`, also within `--endpoint unix:/path`.

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    path::Path,
};

use clap::Command;
use clap_complete::{
    engine::complete,
    env::{Bash as Split, EnvCompleter},
};

use super::line::joined;

/// Bash as clap completes it, but with whole words.
pub(crate) struct Bash;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        Split.name()
    }

    fn is(&self, name: &str) -> bool {
        Split.is(name)
    }

    fn write_registration(
        &self,
        variable: &str,
        name: &str,
        program: &str,
        completer: &str,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        Split.write_registration(variable, name, program, completer, out)
    }

    fn write_complete(
        &self,
        command: &mut Command,
        parts: Vec<OsString>,
        folder: Option<&Path>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let index = env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|index| index.parse().ok()).unwrap_or_default();
        let separator = env::var("_CLAP_IFS").unwrap_or_else(|_| "\n".to_owned());
        let line = joined(parts, index);
        let kept = line.kept.to_string_lossy();
        let found = complete(command, line.words, line.index, folder)?;
        let found: Vec<_> = found.iter().map(|candidate| candidate.get_value().to_string_lossy()).collect();
        let rest = found.iter().map(|value| value.strip_prefix(&*kept).unwrap_or(value));
        write!(out, "{}", rest.collect::<Vec<_>>().join(&separator))
    }
}
