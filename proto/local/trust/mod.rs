//! Trust in a default socket or an endpoint file: whether only root and the user can decide what a path leads to.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use cardbroker_pipe::{ADMINISTRATORS, SYSTEM};

use crate::socket::Place;

#[cfg(test)]
#[cfg(unix)]
mod tests;

/// The permission bits that let the group or everybody else write.
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// One part of a path, as `lstat` reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The path up to and including this part.
    pub path: PathBuf,
    /// The kind of the file.
    pub kind: Kind,
    /// The user who owns it.
    pub owner: u32,
    /// The permission bits, with the sticky bit.
    pub mode: u32,
}

/// The kinds of files that matter on the way to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder, the only kind that may have parts below it.
    Folder,
    /// A symbolic link, which is never followed.
    Link,
    /// Anything else, such as a socket.
    Other,
}

/// Why a default socket or an endpoint file is not used, although it may exist.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Distrust {
    /// A part of the path is a symbolic link.
    Link(PathBuf),
    /// A part of the path that must be a folder is none.
    NoFolder(PathBuf),
    /// The runtime folder belongs to another user.
    NotOwn(PathBuf, u32),
    /// A folder belongs to another user than root and this one.
    Foreign(PathBuf, u32),
    /// Other users can write to a folder whose mode is given.
    Writable(PathBuf, u32),
    /// An endpoint file is no regular file.
    NoFile(PathBuf),
    /// An endpoint file belongs to another user.
    ForeignFile(PathBuf, u32),
    /// Other users have access to an endpoint file, whose mode is given.
    OpenFile(PathBuf, u32),
    /// Other users own an endpoint file on Windows or have access to it, as the text says.
    SharedFile(PathBuf, String),
    /// A named pipe belongs to the user of this SID.
    ForeignPipe(PathBuf, String),
    /// The process at the socket belongs to another user than root, this one and the folder's owner.
    Peer(u32),
}

impl fmt::Display for Distrust {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(path) => write!(formatter, "{} is a symbolic link", path.display()),
            Self::NoFolder(path) => write!(formatter, "{} is not a folder", path.display()),
            Self::NotOwn(path, owner) => {
                let path = path.display();
                write!(formatter, "the runtime folder {path} belongs to {}, not to this user", user(*owner))
            }
            Self::Foreign(path, owner) => {
                write!(formatter, "{} belongs to {}, neither to root nor to this user", path.display(), user(*owner))
            }
            Self::Writable(path, mode) => {
                write!(formatter, "other users can write to {} (its mode is {mode:04o})", path.display())
            }
            Self::NoFile(path) => write!(formatter, "{} is not a regular file", path.display()),
            Self::ForeignFile(path, owner) => {
                write!(formatter, "{} belongs to {}, not to this user", path.display(), user(*owner))
            }
            Self::OpenFile(path, mode) => {
                write!(formatter, "{} is open to other users (its mode is {mode:04o})", path.display())
            }
            Self::SharedFile(path, problem) => write!(formatter, "{} {problem}", path.display()),
            Self::ForeignPipe(path, owner) => {
                let path = path.display();
                write!(formatter, "{path} belongs to {owner}, neither to this user nor to SYSTEM or Administrators")
            }
            Self::Peer(owner) => write!(formatter, "{} serves there", user(*owner)),
        }
    }
}

/// The name of a user in messages.
pub(crate) fn user(uid: u32) -> String {
    if uid == 0 { "root".to_owned() } else { format!("uid {uid}") }
}

/// Judges the way to the socket of `place` for the user `uid`. `parts` are the parts of its path from `/` on, perhaps
/// without the last ones if those do not exist or cannot be seen.
///
/// # Errors
/// The first part that lets another user decide what is at the path.
pub fn judge(place: &Place, uid: u32, parts: &[Part]) -> Result<(), Distrust> {
    let trusted = |owner| owner == 0 || owner == uid;
    // The socket is the last part, its folder the one before, and the runtime folder the one before that.
    let folders = place.path.ancestors().count() - 1;
    for (index, part) in parts.iter().enumerate() {
        let path = || part.path.clone();
        match part.kind {
            Kind::Link => return Err(Distrust::Link(path())),
            Kind::Other if index < folders => return Err(Distrust::NoFolder(path())),
            _ if index == folders => continue,
            _ => {}
        }
        let next = parts.get(index + 1);
        let is_appointed = index + 1 == folders && index > 0 && is_roots_alone(&parts[index - 1]);
        let keeps_next = part.owner == 0 && part.mode & STICKY != 0 && next.is_none_or(|next| next.owner == uid);
        if place.is_own && index + 2 == folders && part.owner != uid {
            return Err(Distrust::NotOwn(path(), part.owner));
        } else if !trusted(part.owner) && !is_appointed {
            return Err(Distrust::Foreign(path(), part.owner));
        } else if part.mode & OTHERS_WRITE != 0 && !keeps_next {
            return Err(Distrust::Writable(path(), part.mode));
        }
    }
    Ok(())
}

/// Judges the owner of the pipe at `path` for the user `own`, both by their SIDs. SYSTEM and the administrators may do
/// everything on the machine anyway.
///
/// # Errors
/// [`Distrust::ForeignPipe`] if the pipe is another user's.
pub fn judge_pipe(path: &Path, owner: &str, own: &str) -> Result<(), Distrust> {
    match owner == own || [SYSTEM, ADMINISTRATORS].contains(&owner) {
        true => Ok(()),
        false => Err(Distrust::ForeignPipe(path.to_owned(), owner.to_owned())),
    }
}

/// Whether the process of `peer` may serve the user `uid` at a socket whose folder belongs to `folder_owner`.
///
/// # Errors
/// [`Distrust::Peer`] if it may not.
pub fn judge_peer(uid: u32, folder_owner: u32, peer: u32) -> Result<(), Distrust> {
    if [0, uid, folder_owner].contains(&peer) { Ok(()) } else { Err(Distrust::Peer(peer)) }
}

fn is_roots_alone(folder: &Part) -> bool {
    folder.owner == 0 && folder.mode & OTHERS_WRITE == 0
}

/// Why a walk did not reach a socket.
#[derive(Debug)]
pub enum Obstacle {
    /// Another user could decide what is at the path.
    Untrusted(Distrust),
    /// A part is missing, or cannot be seen.
    Io(io::Error),
}

/// Walks from `/` to the socket of `place` and judges each part for the user `uid`. Returns the owner of the socket's
/// folder.
///
/// # Errors
/// [`Obstacle::Untrusted`], also if a later part is missing; else [`Obstacle::Io`].
#[cfg(unix)]
pub fn walk(place: &Place, uid: u32) -> Result<u32, Obstacle> {
    walk_with(place, uid, look)
}

/// The same, with `look` in place of the file system.
///
/// # Errors
/// The same as of [`walk`].
pub fn walk_with(place: &Place, uid: u32, look: impl Fn(&Path) -> io::Result<Part>) -> Result<u32, Obstacle> {
    let mut paths: Vec<_> = place.path.ancestors().collect();
    paths.reverse();
    let (mut parts, mut hidden) = (Vec::new(), None);
    for path in paths {
        match look(path) {
            Ok(part) => parts.push(part),
            Err(error) => {
                hidden = Some(error);
                break;
            }
        }
    }
    judge(place, uid, &parts).map_err(Obstacle::Untrusted)?;
    match (hidden, parts.as_slice()) {
        (Some(error), _) => Err(Obstacle::Io(error)),
        (None, [.., folder, _]) => Ok(folder.owner),
        (None, _) => Err(Obstacle::Io(io::ErrorKind::NotFound.into())),
    }
}

#[cfg(unix)]
fn look(path: &Path) -> io::Result<Part> {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::symlink_metadata(path)?;
    let kind = match found.file_type() {
        kind if kind.is_symlink() => Kind::Link,
        kind if kind.is_dir() => Kind::Folder,
        _ => Kind::Other,
    };
    Ok(Part { path: path.into(), kind, owner: found.uid(), mode: found.mode() & 0o7777 })
}
