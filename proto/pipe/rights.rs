//! The judgement of an access list: whether an account that is not trusted may read or change a file. Pure, so that it
//! is tested on every system.

use crate::well_known::{ADMINISTRATORS, CREATOR_OWNER, OWNER_RIGHTS, SYSTEM, TRUSTED_INSTALLER};

/// Rights by which the content can be read: `FILE_READ_DATA`, `GENERIC_READ`, `GENERIC_ALL`, `MAXIMUM_ALLOWED`.
const READ: u32 = 0x0000_0001 | 0x8000_0000 | 0x1000_0000 | 0x0200_0000;

/// Rights by which the content, the name or the access list can be changed: `FILE_WRITE_DATA`, `FILE_APPEND_DATA`,
/// `FILE_DELETE_CHILD`, `DELETE`, `WRITE_DAC`, `WRITE_OWNER`, `GENERIC_WRITE`, `GENERIC_ALL`, `MAXIMUM_ALLOWED`.
const WRITE: u32 = 0x0000_0002
    | 0x0000_0004
    | 0x0000_0040
    | 0x0001_0000
    | 0x0004_0000
    | 0x0008_0000
    | 0x4000_0000
    | 0x1000_0000
    | 0x0200_0000;

/// Rights by which a folder, or a folder in it, can be removed or get another name: those of [`WRITE`] without
/// `FILE_WRITE_DATA`, `FILE_APPEND_DATA` and `GENERIC_WRITE`, which let new entries be made.
const REPLACE: u32 = WRITE & !(0x0000_0002 | 0x0000_0004 | 0x4000_0000);

/// The accounts that may do everything on this machine, and the stand-ins for the owner, who is judged alone.
const TRUSTED: [&str; 5] = [SYSTEM, ADMINISTRATORS, TRUSTED_INSTALLER, OWNER_RIGHTS, CREATOR_OWNER];

/// The owner and the access list of a file or a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileAccess {
    /// The SID of the owner, who can always change the list.
    pub owner: String,
    /// The entries in their order; `None` for a file without a list, which gives everyone all rights.
    pub entries: Option<Vec<Entry>>,
}

/// An entry of an access list that holds for the object itself, and is not only inherited by what is below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Gives rights to an account.
    Allow {
        /// The SID of the account, a user or a group.
        sid: String,
        /// The access mask, with the system's bits for files.
        rights: u32,
    },
    /// Takes rights from an account, perhaps some that a later entry gives.
    Deny,
    /// An entry of a kind that is not known here.
    Unknown,
}

/// A right of another account that it must not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Excess {
    /// The object belongs to the account with this SID.
    Owner(String),
    /// The account with this SID may read the content.
    Read(String),
    /// The account with this SID may change the object.
    Write(String),
    /// The list is missing, or has an entry that is not known here.
    Unclear,
}

impl FileAccess {
    /// Judges a secret, for the user with the SID `own`: nobody but this user, SYSTEM and the administrators may own,
    /// read or change it. Denials are not counted: a list that needs them is too intricate for a secret.
    ///
    /// # Errors
    /// The first excess.
    pub fn check_secret(&self, own: &str) -> Result<(), Excess> {
        self.check(own, WRITE, READ)
    }

    /// Judges a file or a folder that others may read: nobody but this user, SYSTEM and the administrators may own or
    /// change it.
    ///
    /// # Errors
    /// The first excess.
    pub fn check_unchangeable(&self, own: &str) -> Result<(), Excess> {
        self.check(own, WRITE, 0)
    }

    /// Judges a folder on the way to a file that nobody but this user, SYSTEM and the administrators may change: nobody
    /// else may own the folder, remove or rename it or a folder in it. Others may make new entries, as they may in the
    /// first folder of a drive.
    ///
    /// # Errors
    /// The first excess.
    pub fn check_way(&self, own: &str) -> Result<(), Excess> {
        self.check(own, REPLACE, 0)
    }

    fn check(&self, own: &str, write: u32, read: u32) -> Result<(), Excess> {
        let is_trusted = |sid: &str| sid == own || TRUSTED.contains(&sid);
        if !is_trusted(&self.owner) {
            return Err(Excess::Owner(self.owner.clone()));
        }
        for entry in self.entries.as_ref().ok_or(Excess::Unclear)? {
            match entry {
                Entry::Allow { sid, rights } if !is_trusted(sid) && rights & write != 0 => {
                    return Err(Excess::Write(sid.clone()));
                }
                Entry::Allow { sid, rights } if !is_trusted(sid) && rights & read != 0 => {
                    return Err(Excess::Read(sid.clone()));
                }
                Entry::Allow { .. } | Entry::Deny => {}
                Entry::Unknown => return Err(Excess::Unclear),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "S-1-5-21-7";
    const USERS: &str = "S-1-5-32-545";
    const ALL: u32 = 0x001f_01ff;
    const READ_AND_EXECUTE: u32 = 0x0012_00a9;

    fn access(owner: &str, entries: &[(&str, u32)]) -> FileAccess {
        let allow = |(sid, rights): &(&str, u32)| Entry::Allow { sid: (*sid).to_owned(), rights: *rights };
        FileAccess { owner: owner.to_owned(), entries: Some(entries.iter().map(allow).collect()) }
    }

    #[test]
    fn the_user_system_and_the_administrators_may_do_everything() {
        let entries = [(OWN, ALL), (SYSTEM, ALL), (ADMINISTRATORS, ALL), (OWNER_RIGHTS, ALL)];
        for owner in [OWN, SYSTEM, ADMINISTRATORS] {
            assert_eq!(access(owner, &entries).check_secret(OWN), Ok(()), "{owner}");
        }
        assert_eq!(access(OWN, &[]).check_secret(OWN), Ok(()), "an empty list gives nobody a right");
    }

    #[test]
    fn every_right_to_change_is_found() {
        let changing = [1, 2, 6, 16, 18, 19, 25, 28, 30].map(|bit| (1_u32 << bit, Excess::Write(USERS.to_owned())));
        for (rights, excess) in changing {
            let list = access(OWN, &[(SYSTEM, ALL), (USERS, rights)]);
            assert_eq!(list.check_secret(OWN), Err(excess.clone()), "{rights:#x}");
            assert_eq!(list.check_unchangeable(OWN), Err(excess), "{rights:#x}");
        }
    }

    #[test]
    fn others_may_read_what_is_no_secret() {
        for rights in [1, 0x8000_0000, READ_AND_EXECUTE] {
            let list = access(OWN, &[(USERS, rights)]);
            assert_eq!(list.check_secret(OWN), Err(Excess::Read(USERS.to_owned())), "{rights:#x}");
            assert_eq!(list.check_unchangeable(OWN), Ok(()), "{rights:#x}");
        }
        let harmless = access(OWN, &[(USERS, 0x0012_0080)]);
        assert_eq!(harmless.check_secret(OWN), Ok(()), "attributes and the list itself are no secret");
    }

    #[test]
    fn the_service_does_not_trust_the_user_who_installs_it() {
        let anna = || "S-1-5-21-7".to_owned();
        let entry = access(ADMINISTRATORS, &[(SYSTEM, ALL), (&anna(), ALL)]);
        assert_eq!(entry.check_unchangeable(SYSTEM), Err(Excess::Write(anna())));
        assert_eq!(entry.check_way(SYSTEM), Err(Excess::Write(anna())));
        assert_eq!(access(&anna(), &[]).check_unchangeable(SYSTEM), Err(Excess::Owner(anna())));
        assert_eq!(access(&anna(), &[]).check_secret(SYSTEM), Err(Excess::Owner(anna())));
        assert_eq!(access(ADMINISTRATORS, &[(TRUSTED_INSTALLER, ALL)]).check_unchangeable(SYSTEM), Ok(()));
    }

    #[test]
    fn others_may_make_entries_on_the_way_and_replace_none() {
        // `C:\` lets users add folders; a folder that was made in it lets them do all that "Modify" means.
        let way = |rights| access(TRUSTED_INSTALLER, &[(ADMINISTRATORS, ALL), (USERS, rights)]).check_way(SYSTEM);
        for rights in [0x0000_0004, 0x0012_0116, 0x4000_0000, READ_AND_EXECUTE] {
            assert_eq!(way(rights), Ok(()), "{rights:#x}");
        }
        for rights in [0x0013_01bf, 0x40, 0x0001_0000, 0x0004_0000, 0x0008_0000, 0x1000_0000, 0x0200_0000] {
            assert_eq!(way(rights), Err(Excess::Write(USERS.to_owned())), "{rights:#x}");
        }
        assert_eq!(access(OWN, &[]).check_way(SYSTEM), Err(Excess::Owner(OWN.to_owned())));
    }

    #[test]
    fn a_foreign_owner_is_refused_whatever_the_list_says() {
        let excess = Err(Excess::Owner(USERS.to_owned()));
        assert_eq!(access(USERS, &[]).check_unchangeable(OWN), excess);
        assert_eq!(access(USERS, &[]).check_secret(OWN), excess);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let without = FileAccess { owner: OWN.to_owned(), entries: None };
        assert_eq!(without.check_unchangeable(OWN), Err(Excess::Unclear));
        let unknown = FileAccess { owner: OWN.to_owned(), entries: Some(vec![Entry::Unknown]) };
        assert_eq!(unknown.check_unchangeable(OWN), Err(Excess::Unclear));
    }

    #[test]
    fn a_denial_takes_nothing_back() {
        let entries = vec![Entry::Deny, Entry::Allow { sid: USERS.to_owned(), rights: ALL }];
        let list = FileAccess { owner: OWN.to_owned(), entries: Some(entries) };
        assert_eq!(list.check_secret(OWN), Err(Excess::Write(USERS.to_owned())));
    }
}
