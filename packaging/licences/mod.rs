//! The licences of the crates that the programs contain, with their texts.

mod crates;
mod texts;

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use crates::Crate;

/// Writes one file: each text once, below the crates that have it.
///
/// # Errors
/// cargo fails, a file cannot be read or written, or a crate has neither a text nor a standard licence.
pub(crate) fn write(file: &Path) -> anyhow::Result<()> {
    Ok(fs::write(file, list(&crates::contained()?)?)?)
}

fn list(crates: &[Crate]) -> anyhow::Result<String> {
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for one in crates {
        for text in texts::of(one)? {
            texts.entry(text).or_default().push(one.to_string());
        }
    }
    let mut sorted: Vec<_> = texts.into_iter().collect();
    sorted.sort_by(|(_, one), (_, other)| one.cmp(other));
    let mut all = String::from("Licences of the crates that cardbroker and cardbrokerd contain.\n");
    for (text, crates) in sorted {
        write!(all, "\n{}\n{}\n\n{text}\n", "-".repeat(80), crates.join("\n"))?;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::{env, process::Command};

    use super::*;

    /// The crates of the programs, as `cargo tree` lists them: name and version.
    fn tree() -> Vec<String> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["tree", "--locked", "--edges=normal", "--prefix=none", "--format={p}", "--target", crates::TARGET])
            .args(crates::PROGRAMS.map(|name| format!("--package={name}")))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let tree = String::from_utf8(output.stdout).unwrap();
        let ours = |line: &&str| !line.contains(" (/");
        // A line is "name v1.2.3", perhaps with "(proc-macro)" or "(*)" behind it.
        let line = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ").replace(" v", " ");
        let mut lines: Vec<_> = tree.lines().filter(|line| !line.is_empty()).filter(ours).map(line).collect();
        lines.sort();
        lines.dedup();
        lines
    }

    #[test]
    fn every_crate_of_the_programs_is_listed_with_a_text() {
        let listed = list(&crates::contained().unwrap()).unwrap();
        let tree = tree();
        assert!(tree.len() > 100, "{tree:?}");
        let is_missing = |name: &&String| !listed.contains(&format!("\n{name} ("));
        assert_eq!(tree.iter().filter(is_missing).collect::<Vec<_>>(), Vec::<&String>::new());
    }

    #[test]
    fn a_crate_without_a_file_has_its_standard_text_with_its_authors() {
        let listed = list(&crates::contained().unwrap()).unwrap();
        let line = "-".repeat(80);
        let pcsc: Vec<_> = listed.split(&line).filter(|section| section.contains("\npcsc ")).collect();
        assert_eq!(pcsc.len(), 1, "{pcsc:?}");
        assert!(pcsc[0].contains("Copyright (c) Ran Benita"), "{pcsc:?}");
        assert!(pcsc[0].contains("The above copyright notice and this permission notice"), "{pcsc:?}");
    }
}
