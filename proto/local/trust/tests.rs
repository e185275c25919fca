//! Tables of paths, and whether a user may trust them.

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path};

use super::*;
use crate::socket::places;

const ME: u32 = 7;
const STRANGER: u32 = 8;

/// The way to the user's or the system's socket: kind, owner and mode of each part, as in `d 0 755`.
fn verdict(place: usize, parts: &[&str]) -> Result<(), String> {
    let place = &places(ME, None)[place];
    let mut paths: Vec<_> = place.path.ancestors().collect();
    paths.reverse();
    let parts: Vec<_> = paths.iter().zip(parts).map(|(path, text)| part(path, text)).collect();
    judge(place, ME, &parts).map_err(|distrust| distrust.to_string())
}

fn part(path: &Path, text: &str) -> Part {
    let [kind, owner, mode] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("{text}") };
    let kind = match kind {
        "d" => Kind::Folder,
        "l" => Kind::Link,
        _ => Kind::Other,
    };
    Part { path: path.into(), kind, owner: owner.parse().unwrap(), mode: u32::from_str_radix(mode, 8).unwrap() }
}

#[test]
fn the_way_to_the_users_broker() {
    // The parts: / /run /run/user /run/user/7 cardbroker cardbroker.sock
    let good = ["d 0 755", "d 0 755", "d 0 755", "d 7 700", "d 7 700", "s 7 600"];
    assert_eq!(verdict(0, &good), Ok(()));
    for (index, found, expected) in [
        (0, "d 8 755", Some("/ belongs to uid 8, neither to root nor to this user")),
        (0, "d 0 757", Some("other users can write to / (its mode is 0757)")),
        (1, "l 0 777", Some("/run is a symbolic link")),
        (1, "d 0 775", Some("other users can write to /run (its mode is 0775)")),
        (1, "f 0 644", Some("/run is not a folder")),
        (1, "d 7 755", None),
        (2, "d 8 755", Some("/run/user belongs to uid 8, neither to root nor to this user")),
        (2, "d 0 777", Some("other users can write to /run/user (its mode is 0777)")),
        // The next part is the user's, so nobody else can move it away.
        (2, "d 0 1777", None),
        (2, "d 7 1777", Some("other users can write to /run/user (its mode is 1777)")),
        (3, "d 8 700", Some("the runtime folder /run/user/7 belongs to uid 8, not to this user")),
        (3, "d 0 755", Some("the runtime folder /run/user/7 belongs to root, not to this user")),
        (3, "l 7 777", Some("/run/user/7 is a symbolic link")),
        (3, "d 7 770", Some("other users can write to /run/user/7 (its mode is 0770)")),
        (4, "d 8 700", Some("/run/user/7/cardbroker belongs to uid 8, neither to root nor to this user")),
        (4, "d 7 722", Some("other users can write to /run/user/7/cardbroker (its mode is 0722)")),
        (4, "l 7 777", Some("/run/user/7/cardbroker is a symbolic link")),
        (4, "d 0 755", None),
        (5, "l 7 777", Some("/run/user/7/cardbroker/cardbroker.sock is a symbolic link")),
        (5, "s 8 666", None),
    ] {
        let mut parts = good;
        parts[index] = found;
        assert_eq!(verdict(0, &parts), expected.map_or(Ok(()), |text| Err(text.to_owned())), "{index}: {found}");
    }
    for length in 0..good.len() {
        assert_eq!(verdict(0, &good[..length]), Ok(()), "the others are missing");
    }
    assert!(verdict(0, &["d 0 755", "d 8 755"]).is_err(), "the others are missing");
}

#[test]
fn the_way_to_the_systems_broker() {
    // The parts: / /run /run/cardbroker cardbroker.sock
    for (parts, trusted) in [
        (["d 0 755", "d 0 755", "d 0 755", "s 0 666"], true),
        // Root appointed that user.
        (["d 0 755", "d 0 755", "d 8 755", "s 8 666"], true),
        (["d 0 755", "d 0 755", "d 8 775", "s 8 666"], false),
        (["d 0 755", "d 0 775", "d 8 755", "s 8 666"], false),
        (["d 0 755", "d 0 1777", "d 8 755", "s 8 666"], false),
        (["d 0 755", "d 7 755", "d 8 755", "s 8 666"], false),
        (["d 0 755", "d 0 1777", "d 7 755", "s 7 666"], true),
        (["d 0 755", "d 0 1777", "d 0 755", "s 0 666"], false),
        (["d 0 755", "d 0 755", "d 0 1777", "s 8 666"], false),
        (["d 0 755", "d 0 755", "l 0 777", "s 0 666"], false),
    ] {
        assert_eq!(verdict(1, &parts).is_ok(), trusted, "{parts:?}");
    }
}

#[test]
fn the_peer_is_root_the_user_or_the_folders_owner() {
    assert!([0, ME, 9].iter().all(|&peer| judge_peer(ME, 9, peer).is_ok()));
    assert_eq!(judge_peer(ME, 9, STRANGER), Err(Distrust::Peer(STRANGER)));
}

#[test]
fn a_walk_reports_distrust_before_a_missing_part() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let me = rustix::process::geteuid().as_raw();
    let place = Place { path: root.join("run/cardbroker/cardbroker.sock"), is_own: true };
    let above = |path: &Path| match root.starts_with(path) && path != root {
        true => Ok(part(path, "d 0 755")),
        false => look(path),
    };
    let walk = || walk_with(&place, me, above);
    let missing = || matches!(walk(), Err(Obstacle::Io(error)) if error.kind() == io::ErrorKind::NotFound);
    assert!(missing());
    fs::create_dir_all(root.join("run/cardbroker")).unwrap();
    assert!(missing());
    fs::write(&place.path, "").unwrap();
    assert_eq!(walk().unwrap(), me);
    fs::remove_file(&place.path).unwrap();
    fs::set_permissions(root.join("run"), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(walk(), Err(Obstacle::Untrusted(Distrust::Writable(_, 0o777)))));
}

#[test]
fn a_pipe_of_another_user_is_not_trusted() {
    let path = Path::new(r"\\.\pipe\cardbroker\S-1-5-21-7");
    for owner in ["S-1-5-21-7", "S-1-5-18", "S-1-5-32-544"] {
        assert_eq!(judge_pipe(path, owner, "S-1-5-21-7"), Ok(()), "{owner}");
    }
    for owner in ["S-1-5-21-8", "S-1-5-21-77", "S-1-5-19", "S-1-5-20", "S-1-5-32-545", "S-1-1-0", ""] {
        let distrust = Err(Distrust::ForeignPipe(path.to_owned(), owner.to_owned()));
        assert_eq!(judge_pipe(path, owner, "S-1-5-21-7"), distrust, "{owner}");
    }
}
