//! `cardbroker token` on files of its own.

use clap::{Args, FromArgMatches};

use super::*;

/// The exit code, standard output and standard error.
fn run(arguments: &[&str], tokens: Option<&Path>) -> (ExitCode, String, String) {
    let command = TokenArguments::augment_args(clap::Command::new("token").no_binary_name(true));
    let matches = command.try_get_matches_from(arguments).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let configured = || Ok(tokens.unwrap().to_owned());
    let exit = TokenArguments::from_arg_matches(&matches).unwrap().run(configured, || None, &mut out, &mut err);
    (exit, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[test]
fn the_commands_file_overrides_the_daemons_flag() {
    let folder = tempfile::tempdir().unwrap();
    let (flag, own) = (folder.path().join("flag"), folder.path().join("own"));
    assert_eq!(run(&["new", "a"], Some(&flag)).0, ExitCode::SUCCESS);
    assert_eq!(run(&["new", "b", "--tokens", own.to_str().unwrap()], Some(&flag)).0, ExitCode::SUCCESS);
    assert_eq!(run(&["list"], Some(&flag)).1, "a\n");
    assert_eq!(run(&["list", "--json"], Some(&own)).1, "[\"b\"]\n");
}

#[test]
fn an_address_missing_in_the_certificate_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    let new = |name: &str, address: &str| run(&["new", name, "--address", address], Some(&tokens));
    assert_eq!(new("a", "192.0.2.7:7777").0, ExitCode::SUCCESS);
    assert!(TlsIdentity::read_or_make(&tokens, None).unwrap().names([192, 0, 2, 7].into()));
    assert_eq!(new("b", "192.0.2.7:1").0, ExitCode::SUCCESS);
    assert_eq!(new("c", "127.0.0.1:7777").0, ExitCode::SUCCESS);
    let (exit, out, err) = new("d", "192.0.2.8:7777");
    assert_eq!((exit, &*out), (ExitCode::from(2), ""));
    assert!(err.contains("tls.pem does not name 192.0.2.8") && err.contains("remove it, make all"), "{err}");
    assert_eq!(run(&["list"], Some(&tokens)).1, "a\nb\nc\n", "d is not added");
}

#[test]
fn one_command_at_a_time_edits_the_tokens_file() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    let lock = private_file::lock_folder(folder.path()).unwrap();
    let (exit, _, err) = run(&["new", "a"], Some(&tokens));
    assert_eq!((exit, err.contains("another command edits")), (ExitCode::from(2), true), "{err}");
    drop(lock);
    assert_eq!(run(&["new", "a"], Some(&tokens)).0, ExitCode::SUCCESS);
}

#[cfg(unix)]
#[test]
fn root_edits_the_file_of_the_folders_owner_and_follows_no_link() {
    use std::os::unix::fs::{MetadataExt, chown, symlink};
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    chown(folder.path(), Some(4001), Some(4001)).unwrap();
    let (tokens, other) = (folder.path().join("tokens"), folder.path().join("other"));
    for name in ["a", "b"] {
        assert_eq!(run(&["new", name], Some(&tokens)).0, ExitCode::SUCCESS);
        let owners = ["tokens", "tls.pem"].map(|name| folder.path().join(name).metadata().unwrap().uid());
        assert_eq!(owners, [4001; 2], "the daemon of that user can read both");
    }
    assert_eq!(run(&["remove", "a"], Some(&tokens)).0, ExitCode::SUCCESS);
    fs::rename(&tokens, &other).unwrap();
    symlink(&other, &tokens).unwrap();
    let before = fs::read(&other).unwrap();
    for arguments in [["new", "c"], ["remove", "b"]] {
        let (exit, _, err) = run(&arguments, Some(&tokens));
        assert_eq!((exit, err.contains("is not a regular file")), (ExitCode::from(2), true), "{err}");
    }
    assert_eq!(fs::read(&other).unwrap(), before);
}

// Names of files have no line ends on Windows, and the system's words are Unix's.
#[cfg(unix)]
#[test]
fn failures_are_lines_or_json_with_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("to\nkens");
    let message = format!("{}/to\u{FFFD}kens cannot be read: No such file", folder.path().display());
    let (exit, out, err) = run(&["list"], Some(&path));
    assert_eq!((exit, &*out), (ExitCode::from(2), ""));
    assert!(err.starts_with(&format!("cardbroker: {message}")) && err.lines().count() == 1, "{err}");
    let (exit, _, err) = run(&["--json", "remove", "a"], Some(&path));
    let error: serde_json::Value = serde_json::from_str(&err).unwrap();
    assert_eq!((exit, &error["error"]["delivery"]), (ExitCode::from(2), &"not_sent".into()));
    assert!(error["error"]["message"].as_str().unwrap().starts_with(&message), "{error}");
}
