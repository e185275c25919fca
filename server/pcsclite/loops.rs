//! The refusal of a broker to sit on its own door: its PC/SC library would wait for the broker itself.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{backend::pcsc::service_socket, config::Config};

/// The broker would be its own PC/SC service.
#[derive(Debug, thiserror::Error)]
#[error(
    "pcsclite.socket is the socket of this broker's own PC/SC service ({}): name another one, or have pcscd listen \
     elsewhere and set PCSCLITE_CSOCK_NAME of the broker",
    .0.display()
)]
pub struct Loop(PathBuf);

/// Checks that the broker's PC/SC library finds another service than its own door.
///
/// # Errors
/// [`Loop`].
pub fn check_loop(config: &Config) -> Result<(), Loop> {
    let service = service_socket();
    match config.pcsclite.path() {
        Some(door) if !config.readers.is_simulated() && is_same(door, &service) => Err(Loop(door.clone())),
        _ => Ok(()),
    }
}

/// Whether both paths lead to one file, which need not exist in an existing folder.
fn is_same(door: &Path, service: &Path) -> bool {
    let real = |path: &Path| -> Option<PathBuf> {
        let whole = fs::canonicalize(path).ok();
        whole.or_else(|| Some(fs::canonicalize(path.parent()?).ok()?.join(path.file_name()?)))
    };
    door == service || real(door).is_some_and(|door| Some(door) == real(service))
}

// Links to files need rights on Windows.
#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_service_is_found_behind_links() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real");
        fs::create_dir(&real).unwrap();
        symlink(&real, folder.path().join("link")).unwrap();
        assert!(is_same(&real.join("pcscd.comm"), &folder.path().join("link/pcscd.comm")));
        assert!(!is_same(&real.join("pcscd.comm"), &real.join("upstream.comm")));
        fs::write(real.join("upstream.comm"), "").unwrap();
        symlink("upstream.comm", real.join("pcscd.comm")).unwrap();
        assert!(is_same(&real.join("pcscd.comm"), &real.join("upstream.comm")));
    }
}
