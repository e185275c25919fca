//! Files that are refused.

use super::*;

#[test]
fn too_long_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long");
    create_new(&path).unwrap().set_len(MAX_PRIVATE_BYTES + 1).unwrap();
    assert!(matches!(read(&path), Err(PrivateFileError::TooLong)));
    let (bytes, is_whole) = read_beginning(&open(&path).unwrap()).unwrap();
    assert_eq!((bytes.len() as u64, is_whole), (MAX_PRIVATE_BYTES, false));
    let missing = read(&folder.path().join("missing"));
    assert!(matches!(missing, Err(PrivateFileError::Io(error)) if error.kind() == io::ErrorKind::NotFound));
}

/// On Windows a folder cannot be opened at all, files have no mode, and sockets have no paths.
#[cfg(unix)]
mod unix {
    use std::{
        fs::{self, Permissions},
        io::Write,
        os::unix::fs::{PermissionsExt, chown},
    };

    use super::*;

    #[test]
    fn a_file_that_others_can_read_or_change_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        create_new(&path).unwrap().write_all(b"x").unwrap();
        assert_eq!(&**read(&path).unwrap(), "x");
        for (mode, expected) in [(0o400, None), (0o640, Some("0640")), (0o604, Some("0604")), (0o620, Some("0620"))] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            match (read(&path), expected) {
                (Ok(_), None) => {}
                (Err(error), Some(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                (found, _) => panic!("{mode:o}: {found:?}"),
            }
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        // Only root can give a file away.
        if chown(&path, Some(54_321), None).is_ok() {
            assert!(matches!(read(&path), Err(PrivateFileError::Foreign)));
        }
    }

    #[test]
    fn folders_and_sockets_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path()), Err(PrivateFileError::NotRegular)));
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(matches!(read(&socket), Err(PrivateFileError::NotRegular)));
        assert!(read(&folder.path().join("missing")).unwrap_err().to_string().contains("No such file"));
    }
}
