//! Every option that C can set reaches the client: seen by what the client prints of its commands and units.

#[cfg(unix)]
use std::{ffi::CString, mem::MaybeUninit, os::unix::net::UnixListener};

use cardbroker_client as client;

#[cfg(unix)]
use crate::{client::*, connect::*, turn::*};
use crate::{commands::*, pin_pad::*};

/// The printed text once the option is set, and its setter.
type Setter<'a> = (&'a str, &'a dyn Fn(&Commands) -> i32);

/// The commands as the client prints them, without their bytes.
fn shown(commands: &Commands) -> String {
    let commands: Vec<client::Command> = commands.0.get().ok().unwrap().into_iter().map(Into::into).collect();
    format!("{commands:?}")
}

/// Makes a list with one APDU.
fn apdu() -> Box<Commands> {
    let commands = cardbroker_commands_new().unwrap();
    // SAFETY: the pointer is that of four bytes.
    assert_eq!(unsafe { cardbroker_commands_add_apdu(Some(&commands), [0; 4].as_ptr(), 4) }, 0);
    commands
}

#[test]
fn every_option_of_a_command_reaches_the_client() {
    let setters: [Setter; 8] = [
        ("raw: true", &|list| cardbroker_commands_set_raw(Some(list), -1)),
        ("continue_class: Some(129)", &|list| cardbroker_commands_set_continue_class(Some(list), 0x81)),
        ("continue_instruction: 165", &|list| cardbroker_commands_set_continue_instruction(Some(list), 0xA5)),
        ("allow_last_try: true", &|list| cardbroker_commands_set_allow_last_try(Some(list), -1)),
        ("allow_known_wrong: true", &|list| cardbroker_commands_set_allow_known_wrong(Some(list), -1)),
        ("stop_rule: Any", &|list| cardbroker_commands_set_stop_rule(Some(list), 2)),
        ("mask: Some(65280)", &|list| cardbroker_commands_add_continue_on(Some(list), 0x6900, 0xFF00)),
        ("mask: None", &|list| cardbroker_commands_add_continue_on_exactly(Some(list), 0x6982)),
    ];
    for (expected, set) in setters {
        let commands = apdu();
        assert!(!shown(&commands).contains(expected), "{}", shown(&commands));
        assert_eq!(set(&commands), 0);
        assert!(shown(&commands).contains(expected), "{expected}: {}", shown(&commands));
    }
}

#[test]
fn a_truth_value_is_any_integer() {
    let commands = apdu();
    for (value, expected) in [(i32::MIN, true), (0, false), (0x100, true), (0, false), (2, true)] {
        assert_eq!(cardbroker_commands_set_raw(Some(&commands), value), 0);
        assert_eq!(shown(&commands).contains("raw: true"), expected, "{value}");
    }
}

#[test]
fn every_action_and_option_of_a_pin_pad_reaches_the_client() {
    let commands = cardbroker_commands_new().unwrap();
    let list = Some(&*commands);
    let bytes = [1, 2, 3, 4];
    // SAFETY: the pointer is that of four bytes.
    unsafe {
        assert_eq!(cardbroker_commands_add_control(list, 71, bytes.as_ptr(), 4), 0);
    }
    assert_eq!(cardbroker_commands_add_get_attribute(list, 72), 0);
    // SAFETY: the pointer is that of four bytes.
    assert_eq!(unsafe { cardbroker_commands_add_set_attribute(list, 73, bytes.as_ptr(), 4) }, 0);
    // SAFETY: the pointer is that of four bytes.
    assert_eq!(unsafe { cardbroker_commands_add_pin_pad(list, bytes.as_ptr(), 4, 2) }, 0);
    let text = shown(&commands);
    for expected in ["code: 71", "GetAttribute(72)", "tag: 73", "operation: Modify", "key_timeout: None"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let setters = [
        cardbroker_commands_set_pin_encoding(list, 2),
        cardbroker_commands_set_pin_offset(list, 81),
        cardbroker_commands_set_pin_block_length(list, 82),
        cardbroker_commands_set_pin_digits(list, 83, 84),
        cardbroker_commands_set_pin_key_timeout_ms(list, 8500),
    ];
    assert_eq!(setters, [0; 5]);
    let text = shown(&commands);
    for expected in
        ["Bcd", "pin_offset: 81", "pin_block_length: 82", "min_digits: 83", "max_digits: 84", "key_timeout: Some(8.5s)"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert_eq!(cardbroker_commands_set_raw(list, 1), 3, "the last command is no APDU");
}

/// Connects to a socket at which nobody answers, which is enough to build a unit.
#[cfg(unix)]
fn connected(group: &CString) -> (tempfile::TempDir, UnixListener, Box<Client>) {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("a.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let endpoint = CString::new(format!("unix:{}", path.display())).unwrap();
    let options = cardbroker_connect_options_new().unwrap();
    // SAFETY: both pointers are those of texts with a NUL that live longer than the call.
    unsafe {
        assert_eq!(cardbroker_connect_options_set_endpoint(Some(&options), endpoint.as_ptr()), 0);
    }
    // SAFETY: as above.
    assert_eq!(unsafe { cardbroker_connect_options_set_group(Some(&options), group.as_ptr()) }, 0);
    assert_eq!(cardbroker_connect_options_set_connect_timeout_ms(Some(&options), 1234), 0);
    let mut client = MaybeUninit::uninit();
    assert_eq!(cardbroker_connect(Some(&options), Some(&mut client), None), 0);
    // SAFETY: the call has succeeded, so it has stored a handle.
    let client = unsafe { client.assume_init() };
    // SAFETY: the handle comes from `Box::into_raw`, and nobody else owns it.
    (folder, listener, unsafe { Box::from_raw(client) })
}

#[cfg(unix)]
#[test]
fn every_option_of_a_connection_and_a_unit_reaches_the_client() {
    let (_folder, _listener, client) = connected(&CString::new("our-group").unwrap());
    let options = cardbroker_turn_options_new().unwrap();
    let shown = || {
        let (_, client) = Client::of(Some(&client)).ok().unwrap();
        format!("{:?}", options.0.get().ok().unwrap().of_unit(client.transmit("desk")))
    };
    assert!(shown().contains("connect_timeout: 1.234s") && shown().contains("group: Some(Sensitive)"), "{}", shown());
    let list = Some(&*options);
    let setters: [(&str, &dyn Fn() -> i32); 11] = [
        ("wait: Some(1.5s)", &|| cardbroker_turn_options_set_wait_timeout_ms(list, 1500)),
        ("card: Awaited", &|| cardbroker_turn_options_set_card(list, client::CardRequirement::Awaited.into())),
        // SAFETY: the pointer is that of a text with a NUL.
        ("if_insertion_id: \"one\"", &|| unsafe { cardbroker_turn_options_set_if_insertion_id(list, c"one".as_ptr()) }),
        // SAFETY: the pointer is that of a text with a NUL.
        ("if_state_tag: \"two\"", &|| unsafe { cardbroker_turn_options_set_if_state_tag(list, c"two".as_ptr()) }),
        ("if_not_raised: true", &|| cardbroker_turn_options_set_if_not_raised(list, -1)),
        ("reset_before: Cold", &|| cardbroker_turn_options_set_reset_before(list, client::CardReset::Cold.into())),
        ("disposition: Unpower", &|| {
            cardbroker_turn_options_set_disposition(list, client::Disposition::Unpower.into())
        }),
        ("deadline: Some(2.5s)", &|| cardbroker_turn_options_set_deadline_ms(list, 2500)),
        // SAFETY: the pointer is that of two bytes.
        ("request_id: 2 bytes", &|| unsafe { cardbroker_turn_options_set_request_id(list, [7, 7].as_ptr(), 2) }),
        ("repeatable: true", &|| cardbroker_turn_options_set_repeatable(list, -1)),
        ("any_card: true", &|| cardbroker_turn_options_set_any_card(list, -1)),
    ];
    for (expected, set) in setters {
        assert!(!shown().contains(expected), "{}", shown());
        assert_eq!(set(), 0);
        assert!(shown().contains(expected), "{expected}: {}", shown());
    }
}
