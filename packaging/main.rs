//! Writes the parts of the packages that come from the programs: manual pages, completions, licences.

mod completions;
mod licences;
mod manual;

use std::{env, fs, path::PathBuf};

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let folder = PathBuf::from(env::args_os().nth(1).context("usage: package-parts FOLDER")?);
    fs::create_dir_all(&folder)?;
    manual::write(&folder.join("man"))?;
    completions::write(&folder.join("completions"))?;
    licences::write(&folder.join("third-party-licences"))
}
