//! The RPM package, by rpm on the clean Debian system: its scripts behave like the macros of systemd's own packages.

use std::path::Path;

use anyhow::ensure;
use cardbroker_tests::harness::{clean_root::CleanRoot, run::run};

use super::{made::rpm_package, stopped::states};

/// Runs rpm, without the names that dependencies have on other distributions. No script may fail.
fn rpm(system: &CleanRoot, arguments: &[&str]) -> anyhow::Result<String> {
    let done = run(system.command("rpm").args(arguments))?;
    ensure!(done.code == Some(0) && !done.err.contains("scriptlet failed"), "rpm {arguments:?}: {done:?}");
    Ok(done.out)
}

fn upgrade(system: &CleanRoot, package: &Path) -> anyhow::Result<String> {
    let package = system.copy_in(package)?;
    rpm(system, &["--upgrade", "--nodeps", &package])
}

#[test]
fn an_rpm_follows_the_presets_and_restarts_only_a_running_service() -> anyhow::Result<()> {
    let Some(system) = CleanRoot::boot()? else { return Ok(()) };
    let packages = ["1", "2", "3"].map(rpm_package);
    let [first, second, third] = &packages.into_iter().collect::<anyhow::Result<Vec<_>>>()?[..] else { unreachable!() };

    // Fedora's presets disable all services but a few.
    system
        .shell("mkdir -p /etc/systemd/system-preset; echo 'disable *' >/etc/systemd/system-preset/00-story.preset")?;
    let told = upgrade(&system, first)?;
    assert!(told.contains("systemctl enable --now cardbrokerd"), "{told}");
    assert_eq!(states(&system)?, "inactive inactive disabled disabled");
    rpm(&system, &["--erase", "cardbroker"])?;
    system.shell("rm /etc/systemd/system-preset/00-story.preset")?;
    upgrade(&system, first)?;
    assert_eq!(states(&system)?, "inactive inactive enabled enabled");
    let requires = rpm(&system, &["--query", "--requires", "cardbroker"])?;
    assert!(requires.contains("libc.so.6(GLIBC_2."), "{requires}");

    system.shell("echo '# of the administrator' >>/etc/cardbroker/cardbrokerd.toml")?;
    upgrade(&system, second)?;
    let configuration = "tail -n 1 /etc/cardbroker/cardbrokerd.toml";
    assert_eq!(system.shell(configuration)?.trim(), "# of the administrator");
    assert_eq!(states(&system)?, "inactive inactive enabled enabled", "it was stopped");
    system.shell("systemctl start cardbrokerd")?;
    let process = "systemctl show --property MainPID --value cardbrokerd";
    let before = system.shell(process)?;
    upgrade(&system, third)?;
    assert_eq!(states(&system)?, "active active enabled enabled");
    assert_ne!(system.shell(process)?, before, "the new version runs");

    rpm(&system, &["--erase", "cardbroker"])?;
    assert_eq!(system.shell(configuration)?.trim(), "# of the administrator", "a changed file stays");
    let left =
        system.shell("systemctl list-units --all --plain --no-legend 'cardbrokerd*'; pgrep cardbrokerd || true")?;
    assert_eq!(left, "");
    assert!(system.shell("rpm --query --all")?.is_empty());
    Ok(())
}
