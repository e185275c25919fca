//! Tokens: made and read by the command line, absent from every log.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
};

use cardbroker_client::ReaderState;
use cardbroker_tests::harness::{
    broker::Setup,
    run::{cardbroker, run},
    users::may_become_others,
};

use crate::{
    tcp::{READER, bearer, channels, everything, token},
    world::{tell, wait_for},
};

#[test]
fn no_token_is_in_the_most_verbose_log() -> anyhow::Result<()> {
    tell(async {
        let level = "trace,h2=trace,hyper=trace,hyper_util=trace,tonic=trace,tower=trace";
        let broker = Setup::simulated(1)?.log_level(level).tcp(&["tests"])?.start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let right = token(&broker, "tests")?;
        let wrong = right.replace(|_: char| true, "A");
        for (name, shown) in
            [("authorization", bearer(&right)), ("authorization", bearer(&wrong)), ("authorization", wrong.clone())]
        {
            everything(&channels(&broker).await?, &[(name, &shown)]).await?;
        }
        assert!(!format!("{:?}", broker.tcp_client("tests").await?).contains(&right));
        let log = broker.settled_log();
        assert!(log.contains("TRACE h2::"), "the log says nothing");
        for secret in [&right, &wrong, &right.to_lowercase()] {
            assert!(!log.contains(&secret[..8]), "a token is in the log");
        }
        Ok(())
    })
}

#[test]
fn tokens_are_made_listed_and_removed() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (file, out) = (folder.path().join("new/folder/tokens"), folder.path().join("token"));
    let (tokens, token) = (file.to_str().unwrap(), out.to_str().unwrap());
    // No broker is contacted, so its address does not matter.
    let run = |arguments: &[&str]| run(&mut cardbroker("nowhere", &[&["token"], arguments].concat())?);
    let mode = |path: &Path| anyhow::Ok(fs::metadata(path)?.permissions().mode() & 0o777);

    let printed = run(&["new", "a", "--tokens", tokens])?;
    let (shown, certificate) = printed.out.split_once('\n').unwrap();
    assert_eq!((printed.code, shown.len()), (Some(0), 64), "{printed:?}");
    let ends = ("-----BEGIN CERTIFICATE-----\n", "\n-----END CERTIFICATE-----\n");
    assert!(certificate.starts_with(ends.0) && certificate.ends_with(ends.1), "{printed:?}");
    let identity = file.with_file_name("tls.pem");
    assert!(fs::read_to_string(&identity)?.starts_with(certificate) && !printed.out.contains("PRIVATE"), "{printed:?}");
    assert!(printed.err.contains("cardbroker reload") && printed.err.contains("--token-file"), "{printed:?}");
    assert_eq!((mode(&file)?, mode(&identity)?, mode(&folder.path().join("new"))?), (0o600, 0o600, 0o700));
    assert!(!fs::read_to_string(&file)?.contains(shown), "the token itself is kept");

    let written = run(&["new", "b", "--tokens", tokens, "--out", token, "--json"])?;
    let told: serde_json::Value = serde_json::from_str(&written.out)?;
    assert_eq!((written.code, &told["name"], &told["token"]), (Some(0), &"b".into(), &serde_json::Value::Null));
    assert_eq!((told["token_file"].as_str(), mode(&out)?), (Some(token), 0o600));
    assert_eq!(told["certificate"].as_str(), Some(certificate));
    assert!(fs::read_to_string(&out)?.ends_with(&format!("\n{certificate}")), "the same certificate");
    let plain = run(&["new", "plain", "--tokens", tokens, "--plain"])?;
    assert_eq!((plain.code, plain.out.trim().len()), (Some(0), 64), "{plain:?}");
    assert_eq!(run(&["remove", "plain", "--tokens", tokens])?.code, Some(0));

    for (arguments, expected) in [
        (&["new", "a", "--tokens", tokens][..], "has a token a already"),
        (&["new", "c", "--tokens", tokens, "--out", token], "File exists"),
        (&["new", "No Name", "--tokens", tokens], "1 to 64 lower-case letters"),
        (&["remove", "c", "--tokens", tokens], "has no token c"),
        (&["list", "--tokens", "/nonexistent"], "No such file"),
    ] {
        let refused = run(arguments)?;
        assert!(refused.code == Some(2) && refused.err.contains(expected), "{refused:?}");
    }
    assert_eq!(run(&["list", "--tokens", tokens])?.out, "a\nb\n");
    assert_eq!(run(&["remove", "a", "--tokens", tokens])?.code, Some(0));
    assert_eq!(run(&["list", "--tokens", tokens, "--json"])?.out, "[\"b\"]\n");
    assert_eq!(mode(&file)?, 0o600);

    fs::set_permissions(&file, Permissions::from_mode(0o644))?;
    let loose = run(&["new", "d", "--tokens", tokens])?;
    assert!(loose.code == Some(2) && loose.err.contains("chmod 600"), "{loose:?}");
    Ok(())
}

#[test]
fn the_configuration_names_the_tokens_file() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (config, tokens) = (folder.path().join("c.toml"), folder.path().join("mine"));
    let rule = "[[rule]]\nname = \"a\"\nprincipals = [\"token:a\"]\nallow = [\"see\"]";
    fs::write(&config, format!("[listen]\ntcp = \"127.0.0.1:0\"\ntokens = \"{}\"\n{rule}", tokens.display()))?;
    let config = config.to_str().unwrap();
    let run = |arguments: &[&str]| run(&mut cardbroker("nowhere", &[arguments, &["--config", config]].concat())?);
    let made = run(&["token", "new", "a"])?;
    assert!(made.code == Some(0) && fs::read_to_string(&tokens)?.starts_with("a "), "{made:?}");
    assert_eq!(run(&["token", "list"])?.out, "a\n");
    let explained = run(&["policy", "check", "--as", "token:a"])?;
    assert!(explained.out.contains("see             allowed  rule \"a\""), "{explained:?}");
    if may_become_others()? {
        // Root administers the broker of another user, who can read the certificate.
        chown(&tokens, Some(4001), None)?;
        fs::remove_file(tokens.with_file_name("tls.pem"))?;
        assert_eq!(run(&["policy", "check", "--as", "token:a"])?.out, explained.out);
        assert_eq!(run(&["token", "new", "b"])?.code, Some(0));
        assert_eq!(fs::metadata(tokens.with_file_name("tls.pem"))?.uid(), 4001);
        assert_eq!(run(&["token", "new", "c"])?.code, Some(0));
        assert_eq!((fs::metadata(&tokens)?.uid(), run(&["token", "list"])?.out), (4001, "a\nb\nc\n".into()));
    }
    // A socket unit opens the port: the file names none, and the tokens count all the same.
    fs::write(config, format!("[listen]\ntokens = \"{}\"\n{rule}", tokens.display()))?;
    let inherited = run(&["policy", "check", "--as", "token:a"])?;
    assert_eq!((inherited.out, inherited.err), (explained.out.clone(), explained.err.clone()));
    let unknown = run(&["policy", "check", "--as", "token:unknown"])?;
    assert!(unknown.out.contains("see             denied   rule \"no such token\""), "{unknown:?}");
    fs::rename(&tokens, tokens.with_file_name("away"))?;
    let missing = run(&["policy", "check", "--as", "token:a"])?;
    assert_eq!(missing.out, explained.out);
    let note = "cardbrokerd: note: not checked whether there is a token a: listen.tokens: ";
    assert!(missing.err.starts_with(note) && missing.err.contains("cardbroker token new NAME"), "{missing:?}");
    let user = run(&["policy", "check"])?;
    assert_eq!((user.code, &*user.err), (Some(0), ""), "its rules need no token");
    fs::rename(tokens.with_file_name("away"), &tokens)?;

    fs::write(config, "[listen")?;
    let broken = run(&["token", "list"])?;
    assert!(
        broken.code == Some(2) && broken.err.contains("c.toml:1:8: ") && broken.err.contains("--tokens FILE"),
        "{broken:?}"
    );
    Ok(())
}

#[test]
fn a_configuration_that_others_may_write_names_no_tokens_file() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (config, tokens) = (folder.path().join("c.toml"), folder.path().join("mine"));
    fs::write(&config, format!("[listen]\ntokens = \"{}\"", tokens.display()))?;
    let run = |arguments: &[&str]| {
        let arguments = [&["token"], arguments, &["--config", config.to_str().unwrap()]].concat();
        run(&mut cardbroker("nowhere", &arguments)?)
    };
    for mode in [0o620, 0o602] {
        fs::set_permissions(&config, Permissions::from_mode(mode))?;
        for arguments in [&["new", "a"][..], &["list"], &["remove", "a"]] {
            let refused = run(arguments)?;
            assert!(refused.code == Some(2) && refused.err.contains("can be written by others"), "{refused:?}");
            assert!(refused.err.contains("chmod go-w") && refused.err.contains("--tokens FILE"), "{refused:?}");
        }
    }
    assert!(!tokens.exists());
    // A file that is named on the command line is trusted.
    assert_eq!(run(&["new", "a", "--tokens", tokens.to_str().unwrap()])?.code, Some(0));
    fs::set_permissions(&config, Permissions::from_mode(0o600))?;
    if may_become_others()? {
        // Root administers the broker of another user, by that user's configuration.
        chown(&config, Some(4001), None)?;
    }
    assert_eq!(run(&["list"])?.out, "a\n");
    Ok(())
}

#[test]
fn an_unusable_token_file_is_reported_before_anything_is_sent() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("token");
    let file = path.to_str().unwrap();
    let readers = || run(&mut cardbroker("https://127.0.0.1:1", &["readers", "--token-file", file])?);
    let refused = |expected: &str| {
        let run = readers()?;
        assert_eq!((run.code, run.err.lines().count()), (Some(2), 1), "{run:?}");
        assert!(run.err.contains(file) && run.err.contains(expected), "{run:?}");
        anyhow::Ok(())
    };
    refused("cannot be read: No such file or directory (os error 2): make one with \"cardbroker token new")?;
    fs::write(&path, "two words")?;
    fs::set_permissions(&path, Permissions::from_mode(0o644))?;
    refused("is open to others (its mode is 0644): chmod 600 it")?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    refused("holds no token")?;
    fs::write(&path, "token\n")?;
    refused("has no certificate: make a new one with \"cardbroker token new\", or use http:// for plain TCP")?;
    fs::write(&path, "token\nmore")?;
    refused("has more than a token and a certificate in PEM")?;
    // A Unix socket needs no token, so the file is not even read.
    let local = run(&mut cardbroker("unix:/nonexistent.sock", &["readers", "--token-file", file])?)?;
    assert_eq!(local.code, Some(3), "{local:?}");
    Ok(())
}
