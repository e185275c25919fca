//! Files of the Windows programs: their access lists, which Wine makes of the modes of the files, and the endpoint file
//! of `--tcp auto`.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use anyhow::{Context, ensure};
use cardbroker_tests::harness::run;
use serde_json::Value;

use super::wine::{self, Broker, claim_endpoint_file, own_folder, program, set_mode};

fn mode(path: &Path) -> anyhow::Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o777)
}

/// Whether others have no rights. Wine makes the rights of a file's group of those of the administrators.
fn is_private(path: &Path) -> anyhow::Result<bool> {
    Ok(mode(path)? & 0o007 == 0)
}

#[test]
fn a_client_finds_port_and_token_by_the_endpoint_file() -> anyhow::Result<()> {
    let _alone = claim_endpoint_file();
    let mut broker = Broker::start(None, &["--simulate", "1", "--tcp", "auto"])?;
    let file = own_folder()?.join("endpoint.json");
    ensure!(is_private(&file)?, "{:o}", mode(&file)?);
    let text: Value = serde_json::from_slice(&fs::read(&file)?)?;
    let endpoint = text["endpoint"].as_str().context("no endpoint")?;
    ensure!(endpoint.starts_with("https://127.0.0.1:") && text["start_time"].is_u64(), "{endpoint}");
    ensure!(!broker.log().contains(text["token"].as_str().context("no token")?), "the token is in the log");
    let readers = wine::run("tcp:auto", &["readers"])?;
    ensure!(readers.code == Some(0) && readers.out.contains("simulated-reader-00"), "{readers:?}");

    let mut second = Broker::spawn(r"\\.\pipe\cardbroker\second", None, &["--simulate", "1", "--tcp", "auto"])?;
    let status = second.wait()?;
    ensure!(status.code() == Some(4) && second.log().contains("already has a port by --tcp auto"), "{}", second.log());

    let private = mode(&file)?;
    set_mode(&file, 0o644)?;
    let refused = wine::run("tcp:auto", &["readers"])?;
    ensure!(refused.code == Some(3) && refused.err.contains("can be read by"), "{refused:?}");
    set_mode(&file, private)?;

    // A broker that is killed leaves its file, which names a process that has ended.
    let left = fs::read(&file)?;
    broker.interrupt()?;
    ensure!(!file.exists());
    fs::write(&file, &left)?;
    set_mode(&file, private)?;
    let ended = wine::run("tcp:auto", &["--connect-timeout", "0s", "readers"])?;
    ensure!(ended.code == Some(3) && ended.err.contains("has ended"), "{ended:?}");
    fs::remove_file(&file)?;
    let gone = wine::run("tcp:auto", &["--connect-timeout", "0s", "readers"])?;
    ensure!(gone.code == Some(3) && gone.err.contains("no such file"), "{gone:?}");
    Ok(())
}

#[test]
fn tokens_that_others_may_read_are_refused() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let tokens = folder.path().join("tokens");
    let as_windows = wine::path(&tokens);
    let made = run::run(program("cardbrokerd")?.args(["--tokens", &as_windows, "token", "new", "story"]))?;
    ensure!(made.code == Some(0), "{made:?}");
    for file in [&tokens, &folder.path().join("tls.pem")] {
        ensure!(is_private(file)?, "{} {:o}", file.display(), mode(file)?);
    }
    let check =
        || run::run(program("cardbrokerd")?.args(["--tokens", &as_windows, "--tcp", "127.0.0.1:0", "--check-config"]));
    ensure!(check()?.code == Some(0));
    for (mode, expected) in [(0o644, "can be read by"), (0o622, "can be changed by")] {
        set_mode(&tokens, mode)?;
        let refused = check()?;
        ensure!(refused.code == Some(3) && refused.err.contains(expected), "{mode:o}: {refused:?}");
    }
    Ok(())
}

#[test]
fn a_configuration_that_others_may_change_is_refused() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("c.toml");
    fs::write(&config, "readers.simulate = 1")?;
    let check = || run::run(program("cardbrokerd")?.args(["--config", &wine::path(&config), "--check-config"]));
    for (mode, code) in [(0o644, 0), (0o666, 3)] {
        set_mode(&config, mode)?;
        let checked = check()?;
        ensure!(checked.code == Some(code), "{mode:o}: {checked:?}");
        ensure!(code == 0 || checked.err.contains("can be written by others"), "{checked:?}");
    }
    Ok(())
}
