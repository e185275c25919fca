//! Pipes between two ends in this process. Access lists are not tried: Wine does not enforce them.

use std::{
    io,
    os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle},
    ptr,
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use windows_sys::Win32::Security::{
    CreateRestrictedToken, SID_AND_ATTRIBUTES, TOKEN_ASSIGN_PRIMARY, TOKEN_DUPLICATE, TOKEN_QUERY,
};

use crate::{
    ADMINISTRATORS, AccessList, AccountKind, EventKind, EventSource, Excess, Identity, Keeper, ProcessState, SYSTEM,
    Sid, access_of_file, account, account_named, account_with, client_identity, client_process, connect, create_file,
    create_folder,
    file::create_with,
    is_busy, is_missing, own_identity, own_user, owner_of_file, owner_of_pipe, process_state,
    server::access_list,
    token::{is_enabled, is_for_denials, open_own_token},
};

/// The group of all users.
const EVERYONE: &str = "S-1-1-0";

fn name(test: &str) -> String {
    format!(r"\\.\pipe\cardbroker\test-{test}-{}", std::process::id())
}

#[test]
fn a_sid_has_numbers_only() {
    for text in ["S-1-5-18", "S-1-5-21-1-2-3-1000"] {
        assert_eq!(text.parse::<Sid>().unwrap().as_str(), text);
    }
    for text in ["", "S-1-5", "S-1-5-", "S-1-5-x", "S-1-5-18)(A;;GA;;;WD", "S-2-5-18", "s-1-5-18"] {
        assert!(text.parse::<Sid>().is_err(), "{text}");
    }
}

#[test]
fn a_group_may_use_a_pipe_but_not_serve_it() {
    let [owner, group] = ["S-1-5-21-7", "S-1-5-21-8"].map(|text| text.parse::<Sid>().unwrap());
    let alone = "O:S-1-5-21-7D:P(A;;GA;;;S-1-5-21-7)(A;;GA;;;SY)(A;;GA;;;BA)";
    assert_eq!(access_list(&owner, None), alone);
    assert_eq!(access_list(&owner, Some(&group)), format!("{alone}(A;;0x12019b;;;S-1-5-21-8)"));
    let create_instance = 0x4;
    assert_eq!(crate::server::USE_ONLY & create_instance, 0);
    AccessList::new(Some(&group)).unwrap();
}

#[tokio::test]
async fn both_ends_know_each_other() {
    let (name, access) = (name("ends"), AccessList::new(None).unwrap());
    let mut server = access.create(&name).unwrap();
    let mut client = connect(&name).unwrap();
    server.connect().await.unwrap();
    client.write_all(b"hello").await.unwrap();
    let mut bytes = [0; 5];
    server.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"hello");
    assert_eq!(client_identity(&server).unwrap(), own_identity().unwrap());
    assert_eq!(client_process(&server), Some(std::process::id()));
    assert_eq!(owner_of_pipe(&client).unwrap(), own_user().unwrap());
}

#[tokio::test]
async fn a_pipe_without_a_free_instance_is_busy() {
    let (name, access) = (name("busy"), AccessList::new(None).unwrap());
    assert!(is_missing(&connect(&name).unwrap_err()));
    let server = access.create(&name).unwrap();
    let _client = connect(&name).unwrap();
    server.connect().await.unwrap();
    assert!(is_busy(&connect(&name).unwrap_err()));
    let _second = access.add(&name).unwrap();
    connect(&name).unwrap();
}

#[tokio::test]
async fn the_remains_of_an_own_pipe_can_be_joined() {
    let name = name("join");
    let group = sid(EVERYONE);
    let earlier = AccessList::new(Some(&group)).unwrap().create(&name).unwrap();
    let _remains = connect(&name).unwrap();
    earlier.connect().await.unwrap();
    drop(earlier);
    assert!(is_busy(&connect(&name).unwrap_err()));
    let joined = AccessList::new(None).unwrap().join(&name).unwrap();
    let own = own_user().unwrap();
    assert_eq!(access_of_file(&joined).unwrap().check_secret(own.as_str()), Ok(()), "the group has lost its rights");
    let mut client = connect(&name).unwrap();
    joined.connect().await.unwrap();
    client.write_all(b"hello").await.unwrap();
    joined.readable().await.unwrap();
    assert_eq!(client_identity(&joined).unwrap().user, own);
}

#[tokio::test]
async fn the_pipe_of_another_user_gets_no_instance() {
    let name = name("foreign");
    let foreign = AccessList::parse("O:SYD:P(A;;GA;;;WD)").unwrap();
    let _first = foreign.create(&name).unwrap();
    let own = AccessList::new(None).unwrap();
    for refused in [own.join(&name), own.add(&name)] {
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}

#[test]
fn groups_count_while_they_are_enabled() {
    let (mandatory, enabled, for_denials, integrity) = (0x1, 0x4, 0x10, 0x60);
    for (attributes, expected) in [
        (mandatory | enabled, true),
        (enabled, true),
        (0, false),
        (mandatory, false),
        (for_denials, false),
        (enabled | for_denials, false),
        (integrity, false),
    ] {
        assert_eq!(is_enabled(attributes), expected, "{attributes:#x}");
    }
    assert!(is_for_denials(for_denials) && !is_for_denials(0));
    let own = own_identity().unwrap();
    assert_eq!(own.user, own_user().unwrap());
    assert!(own.groups.contains(&sid(EVERYONE)) && !own.groups.contains(&own.user), "{own:?}");
}

#[test]
fn a_group_for_denials_is_no_group_of_the_process() {
    let own = own_identity().unwrap();
    let group = sid(EVERYONE);
    let binary = account::to_binary(&group).unwrap();
    let token = open_own_token(TOKEN_QUERY | TOKEN_DUPLICATE | TOKEN_ASSIGN_PRIMARY).unwrap();
    let disabled = SID_AND_ATTRIBUTES { Sid: binary.as_ptr(), Attributes: 0 };
    let mut restricted = ptr::null_mut();
    // SAFETY: the token is open; one SID is given, which lives during the call, no privileges and no restricting SIDs;
    // the last argument is a place for the result.
    let made = unsafe {
        let (token, none) = (token.as_raw_handle(), ptr::null());
        CreateRestrictedToken(token, 0, 1, &disabled, 0, none, 0, ptr::null(), &mut restricted)
    };
    assert_ne!(made, 0, "{}", io::Error::last_os_error());
    // SAFETY: the call succeeded, so `restricted` is an open handle, and no other value owns it.
    let restricted = unsafe { OwnedHandle::from_raw_handle(restricted) };
    let found = Identity::of(&restricted).unwrap();
    let expected: Vec<_> = own.groups.into_iter().filter(|own| *own != group).collect();
    assert_eq!((found.user, found.groups), (own.user, expected));
}

#[test]
fn accounts_have_a_name_and_a_kind() {
    let own = own_user().unwrap();
    let (name, kind) = account_with(&own).unwrap().unwrap();
    assert_eq!(kind, AccountKind::User, "{name}");
    assert_eq!(account_named(&name).unwrap(), Some((own, AccountKind::User)), "{name}");
    for group in [EVERYONE, ADMINISTRATORS, SYSTEM] {
        let (name, kind) = account_with(&sid(group)).unwrap().unwrap();
        assert_eq!(kind, AccountKind::Group, "{name}");
        assert_eq!(account_named(&name).unwrap(), Some((sid(group), AccountKind::Group)), "{name}");
    }
    for nobody in ["", "no such account", "NOWHERE\\anna", "Administrators\0x"] {
        assert_eq!(account_named(nobody).unwrap(), None, "{nobody}");
    }
    assert_eq!(account_with(&sid("S-1-5-21-1-2-3-4")).unwrap(), None);
}

fn sid(text: &str) -> Sid {
    text.parse().unwrap()
}

#[test]
fn a_keeper_shares_with_system_and_the_administrators_alone() {
    let user = Keeper::User("S-1-5-21-7".parse().unwrap());
    assert_eq!(user.descriptor(""), "O:S-1-5-21-7D:P(A;;FA;;;S-1-5-21-7)(A;;FA;;;SY)(A;;FA;;;BA)");
    assert_eq!(Keeper::Machine.descriptor("OICI"), "O:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)");
}

/// A folder of this test alone, removed at the end.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("cardbroker-{test}-{}", std::process::id()));
        create_folder(&folder, &Keeper::User(own_user().unwrap())).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_access_list_of_a_file_is_read_back() {
    let folder = Folder::new("lists");
    let own = own_user().unwrap();
    let keeper = Keeper::User(own.clone());
    let secret = create_file(&folder.0.join("secret"), &keeper).unwrap();
    assert_eq!(owner_of_file(&secret).unwrap(), own);
    assert_eq!(access_of_file(&secret).unwrap().check_secret(own.as_str()), Ok(()));
    let again = create_file(&folder.0.join("secret"), &keeper).unwrap_err();
    assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);

    // A right to write would fall victim to the umask below Wine.
    let descriptor = format!("O:{own}D:P(A;;FA;;;{own})(A;;FR;;;WD)");
    let shared = create_with(&folder.0.join("shared"), &descriptor).unwrap();
    let shared = access_of_file(&shared).unwrap();
    assert_eq!(shared.check_secret(own.as_str()), Err(Excess::Read(EVERYONE.into())));
    assert_eq!(shared.check_unchangeable(own.as_str()), Ok(()));
    let foreign = "S-1-5-21-1-2-3-1234";
    assert_eq!(shared.check_unchangeable(foreign), Err(Excess::Owner(own.to_string())));
}

#[test]
fn a_process_runs_since_its_start_until_its_end() {
    let ProcessState::Running { started: Some(started) } = process_state(std::process::id()).unwrap() else {
        panic!("this process runs");
    };
    assert!(started > 0);
    let mut child = std::process::Command::new("sort").stdin(std::process::Stdio::piped()).spawn().unwrap();
    assert!(matches!(process_state(child.id()), Ok(ProcessState::Running { .. })));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(process_state(child.id()).unwrap(), ProcessState::Ended);
}

#[test]
fn events_of_any_length_are_taken() {
    let source = EventSource::open("cardbroker-test").unwrap();
    for text in [String::new(), "a\0b".to_owned(), "\u{1f600}".repeat(40_000)] {
        source.report(EventKind::Information, 1, &text).unwrap();
    }
}
