//! The repository's files, as the checks read them.

use std::{
    fs,
    path::{Path, PathBuf},
};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The text of one file, named from the top.
pub(crate) fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All text files, named from the top, without what tools make (build results, lock files).
pub(crate) fn all() -> Vec<(String, String)> {
    let mut found = Vec::new();
    collect(&root(), "", &mut found);
    found.sort();
    found
}

/// All Rust files, named from the top.
pub(crate) fn rust() -> Vec<(String, String)> {
    all().into_iter().filter(|(path, _)| path.ends_with(".rs")).collect()
}

fn collect(folder: &Path, name: &str, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let file = entry.file_name().into_string().unwrap();
        let path = if name.is_empty() { file.clone() } else { format!("{name}/{file}") };
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            if ![".git", "target", "node_modules"].contains(&&*file) {
                collect(&entry.path(), &path, found);
            }
        } else if kind.is_file()
            && !file.ends_with(".lock")
            && file != ".git"
            && let Ok(text) = String::from_utf8(fs::read(entry.path()).unwrap())
        {
            found.push((path, text));
        }
    }
}
