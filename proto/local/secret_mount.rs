//! Secrets as orchestrators mount them: readable by all users of a container, writable by root alone.

use std::{
    ffi::OsStr,
    fs::{self, Metadata},
    io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use crate::private_file::folder_of;

/// Points of mounts in memory that are not for secrets alone.
const SHARED: [&str; 2] = ["/", "/run"];

/// Whether the open file `found` at `path` is such a secret: file and folder belong to root, who alone may write them,
/// and the file lies on a read-only mount, or on a tmpfs whose root is its folder. A link may lead to another place
/// within the mount. `false` where the system does not list its mounts.
pub(crate) fn is_mounted_secret(path: &Path, found: &Metadata) -> bool {
    look(path, found).unwrap_or(false)
}

fn look(path: &Path, found: &Metadata) -> io::Result<bool> {
    let (folder, file) = (fs::canonicalize(folder_of(path))?, fs::canonicalize(path)?);
    let (still, parent) = (fs::metadata(&file)?, fs::metadata(file.parent().unwrap_or(Path::new("/")))?);
    let is_of_root = |found: &Metadata| found.uid() == 0 && found.mode() & 0o022 == 0;
    let is_same = (still.dev(), still.ino()) == (found.dev(), found.ino());
    let mounts = fs::read("/proc/self/mountinfo")?;
    Ok(is_same && is_of_root(found) && is_of_root(&parent) && is_secret_mount(&mounts, &folder, &file))
}

/// Whether the mount of `file` is for secrets. `folder` is where the file was looked for; both are without links.
/// `mounts` is the text of `/proc/self/mountinfo`.
fn is_secret_mount(mounts: &[u8], folder: &Path, file: &Path) -> bool {
    let mounts: Vec<_> = mounts.split(|byte| *byte == b'\n').filter_map(mount).collect();
    let (Some(mount), Some(of_folder)) = (mount_of(&mounts, file), mount_of(&mounts, folder)) else { return false };
    let is_of_its_own = mount.point == folder && !SHARED.iter().any(|shared| mount.point == Path::new(shared));
    let is_inside = mount.point == file || mount.id == of_folder.id;
    is_inside && (mount.is_read_only || (mount.is_in_memory && is_of_its_own))
}

/// A mounted file system, as a line of `/proc/self/mountinfo` describes it.
struct Mount<'a> {
    id: &'a [u8],
    point: PathBuf,
    is_read_only: bool,
    is_in_memory: bool,
}

/// The mount that `path` lies on: of those whose points contain it the deepest, and of these the last.
fn mount_of<'a, 'b>(mounts: &'b [Mount<'a>], path: &Path) -> Option<&'b Mount<'a>> {
    let around = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    around.max_by_key(|mount| mount.point.components().count())
}

/// Parses `ID PARENT DEVICE ROOT POINT OPTIONS … - TYPE SOURCE OPTIONS`.
fn mount(line: &[u8]) -> Option<Mount<'_>> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let end = fields.iter().position(|field| *field == b"-")?;
    let is_read_only = |options: &[u8]| options.split(|byte| *byte == b',').any(|option| option == b"ro");
    Some(Mount {
        id: fields.first()?,
        point: unescaped(fields.get(4)?),
        is_read_only: is_read_only(fields.get(5)?) || fields.get(end + 3).is_some_and(|options| is_read_only(options)),
        is_in_memory: matches!(*fields.get(end + 1)?, b"tmpfs" | b"ramfs"),
    })
}

/// The path in a field, where spaces and the like are written as `\040`.
fn unescaped(field: &[u8]) -> PathBuf {
    let (mut path, mut rest) = (Vec::with_capacity(field.len()), field);
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                path.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                path.push(*first);
                rest = after;
            }
        }
    }
    OsStr::from_bytes(&path).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_for_secrets_are_taken_for_them() {
        let vectors = include_str!("../conformance/secret_mounts.json");
        let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
        let mounts = vectors["mounts"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
        let mounts = mounts.collect::<Vec<_>>().join("\n");
        for case in vectors["cases"].as_array().unwrap() {
            let path = |key: &str| Path::new(case[key].as_str().unwrap());
            let accepted = is_secret_mount(mounts.as_bytes(), path("folder"), path("file"));
            assert_eq!(accepted, case["accepted"].as_bool().unwrap(), "{case}");
        }
    }

    #[test]
    fn a_file_on_an_ordinary_mount_is_no_secret_of_an_orchestrator() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "x").unwrap();
        assert!(!is_mounted_secret(&path, &fs::metadata(&path).unwrap()));
    }
}
