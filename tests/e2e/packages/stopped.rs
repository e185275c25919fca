//! Upgrades and repeated installations of the Debian package, with the service stopped or disabled.

use cardbroker_tests::harness::clean_root::CleanRoot;

use super::{debian_package, install};

/// The states of the socket and of the service, and whether both are enabled.
pub(super) fn states(system: &CleanRoot) -> anyhow::Result<String> {
    let units = "cardbrokerd.socket cardbrokerd.service";
    let states =
        system.run_shell(&format!("systemctl is-active {units} || true; systemctl is-enabled {units} || true"))?;
    Ok(states.out.lines().collect::<Vec<_>>().join(" "))
}

#[test]
fn an_upgrade_leaves_a_stopped_service_stopped() -> anyhow::Result<()> {
    let Some(system) = CleanRoot::boot()? else { return Ok(()) };
    let (old, new) = (debian_package("0.1.0-0.1")?, debian_package("0.1.0-0.2")?);

    install(&system, &old)?;
    assert_eq!(states(&system)?, "active active enabled enabled");
    system.shell("systemctl stop cardbrokerd.service")?;
    install(&system, &new)?;
    assert_eq!(states(&system)?, "active inactive enabled enabled");
    system.shell("systemctl stop cardbrokerd.socket")?;
    install(&system, &old)?;
    assert_eq!(states(&system)?, "inactive inactive enabled enabled");

    // The next installation after a removal starts it, as the first did.
    system.shell("dpkg --remove cardbroker")?;
    install(&system, &new)?;
    assert_eq!(states(&system)?, "active active enabled enabled");

    // A disabled service stays so, even over a removal.
    system.shell("systemctl disable --now cardbrokerd.socket cardbrokerd.service")?;
    install(&system, &old)?;
    assert_eq!(states(&system)?, "inactive inactive disabled disabled");
    system.shell("dpkg --remove cardbroker")?;
    install(&system, &new)?;
    assert_eq!(states(&system)?, "inactive inactive disabled disabled");
    Ok(())
}
