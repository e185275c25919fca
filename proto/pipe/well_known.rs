//! Accounts that have the same SID on every machine.

/// The account of the operating system itself.
pub const SYSTEM: &str = "S-1-5-18";
/// The account of services with few rights.
pub const LOCAL_SERVICE: &str = "S-1-5-19";
/// The account of services with few rights that use the network.
pub const NETWORK_SERVICE: &str = "S-1-5-20";
/// The group of all administrators of this machine.
pub const ADMINISTRATORS: &str = "S-1-5-32-544";
/// The service that installs Windows and its updates. It owns the folder of programs.
pub(crate) const TRUSTED_INSTALLER: &str = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464";
/// In an access list: the present owner of the object.
pub(crate) const OWNER_RIGHTS: &str = "S-1-3-4";
/// In an inherited access list: the creator of the object below.
pub(crate) const CREATOR_OWNER: &str = "S-1-3-0";
