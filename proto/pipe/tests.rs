//! Pipes between two ends in this process. Access lists are not tried: Wine does not enforce them.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{Access, Sid, client_process, client_user, connect, own_user, owner_of_pipe, server::access_list};

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
    Access::new(Some(&group)).unwrap();
}

#[tokio::test]
async fn both_ends_know_each_other() {
    let (name, access) = (name("ends"), Access::new(None).unwrap());
    let mut server = access.create(&name, true).unwrap();
    let mut client = connect(&name).unwrap();
    server.connect().await.unwrap();
    client.write_all(b"hello").await.unwrap();
    let mut bytes = [0; 5];
    server.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"hello");
    assert_eq!(client_user(&server).unwrap(), own_user().unwrap());
    assert_eq!(client_process(&server), Some(std::process::id()));
    assert_eq!(owner_of_pipe(&client).unwrap(), own_user().unwrap());
}

#[tokio::test]
async fn a_pipe_without_a_free_instance_is_busy() {
    let (name, access) = (name("busy"), Access::new(None).unwrap());
    assert_eq!(connect(&name).unwrap_err().raw_os_error(), Some(2));
    let server = access.create(&name, true).unwrap();
    let _client = connect(&name).unwrap();
    server.connect().await.unwrap();
    assert_eq!(connect(&name).unwrap_err().raw_os_error(), Some(231));
    let _second = access.create(&name, false).unwrap();
    connect(&name).unwrap();
}
