//! The licence texts of one crate: its files or, without any, the standard texts of its SPDX expression.

use std::{fs, path::Path};

use anyhow::{Context, ensure};

use super::crates::Crate;

/// The first letters of the names of files and folders with licences.
const NAMES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "COPYRIGHT", "UNLICENSE"];

/// The standard texts, by SPDX identifier.
const STANDARD: [(&str, &str); 2] =
    [("MIT", include_str!("MIT.txt")), ("Apache-2.0", include_str!("../../LICENSE-APACHE"))];

/// The texts that apply to a crate, at least one.
///
/// # Errors
/// A file cannot be read, or the crate has no file and a licence without a standard text.
pub(super) fn of(one: &Crate) -> anyhow::Result<Vec<String>> {
    let mut texts = Vec::new();
    collect(&one.folder, false, &mut texts).with_context(|| format!("the licence files of {one}"))?;
    if texts.is_empty() {
        texts = standard(one)?;
    }
    texts.sort();
    texts.dedup();
    Ok(texts)
}

/// Collects the files with a licence's name, and all files of folders with such a name such as `LICENSES`. Parts that a
/// crate took from elsewhere may have licences further down.
fn collect(folder: &Path, is_licences: bool, texts: &mut Vec<String>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        let is_licence = is_licences || NAMES.iter().any(|begin| name.starts_with(begin)) && !name.ends_with(".RS");
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), is_licence, texts)?;
        } else if is_licence {
            texts.push(String::from_utf8_lossy(&fs::read(entry.path())?).trim_end().to_owned());
        }
    }
    Ok(())
}

fn standard(one: &Crate) -> anyhow::Result<Vec<String>> {
    let authors = match &*one.authors {
        [] => format!("the authors of {}", one.name),
        authors => authors.join(", "),
    };
    let words = one.licence.split([' ', '/', '(', ')']).filter(|word| !["", "OR", "AND"].contains(word));
    let text = |identifier: &str| {
        let (_, text) = STANDARD.iter().find(|(known, _)| *known == identifier).with_context(|| {
            format!("{one} has no licence file, and packaging/licences/ has no text of {identifier}")
        })?;
        Ok(format!("Copyright (c) {authors}\n\n{}", text.trim_end()))
    };
    let texts = words.map(text).collect::<anyhow::Result<Vec<_>>>()?;
    ensure!(!texts.is_empty(), "{one} states no licence");
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(licence: &str) -> (Crate, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let authors = vec!["Ada".to_owned(), "Bob".to_owned()];
        let (name, version) = ("example".to_owned(), "1.0.0".to_owned());
        (Crate { name, version, licence: licence.to_owned(), authors, folder: folder.path().to_owned() }, folder)
    }

    #[test]
    fn files_in_folders_count_and_sources_do_not() {
        let (one, folder) = example("MIT");
        for path in ["LICENSES/MIT.txt", "third_party/part/LICENSE", "src/license.rs"] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, path.file_name().unwrap().as_encoded_bytes()).unwrap();
        }
        assert_eq!(of(&one).unwrap(), ["LICENSE", "MIT.txt"]);
    }

    #[test]
    fn every_identifier_of_an_expression_gives_its_standard_text() {
        for expression in ["MIT OR Apache-2.0", "Apache-2.0/MIT", "(MIT AND Apache-2.0)"] {
            let texts = of(&example(expression).0).unwrap();
            assert!(texts[0].contains("Apache License") && texts[1].contains("MIT License"), "{texts:?}");
            assert!(texts.iter().all(|text| text.starts_with("Copyright (c) Ada, Bob\n")), "{texts:?}");
        }
    }

    #[test]
    fn a_licence_without_any_text_is_an_error() {
        for expression in ["MIT OR Unheard-1.0", ""] {
            assert!(of(&example(expression).0).is_err(), "{expression}");
        }
    }
}
