//! The other ends of the connections to a Unix socket, by the kernel's table of sockets (`sock_diag(7)`).

use std::{
    collections::HashSet,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
    time::Duration,
};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketType,
    netlink::{SOCK_DIAG, SocketAddrNetlink},
    recv, sendto, socket,
    sockopt::{Timeout, set_socket_timeout},
};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// NLM_F_REQUEST and NLM_F_DUMP: a question whose answer is the whole table.
const FLAGS: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER_BYTES: usize = 16;
/// The fixed part of an entry, before its attributes.
const ENTRY_BYTES: usize = 16;
/// UDIAG_SHOW_NAME, UDIAG_SHOW_VFS and UDIAG_SHOW_PEER: the columns of the table that are asked for.
const COLUMNS: u32 = 1 | 2 | 4;
const NAME: u16 = 0;
const VFS: u16 = 1;
const PEER: u16 = 2;

/// Larger than the kernel's messages.
const BUFFER_BYTES: usize = 64 << 10;

/// Returns the numbers of the sockets that are connected to the one at `path`.
///
/// # Errors
/// There is no such socket, or the kernel has no table.
pub(super) fn of(path: &Path) -> io::Result<HashSet<u32>> {
    // The kernel's table holds only the lower 32 bits of the inode.
    let inode = fs::metadata(path)?.ino() as u32;
    let name = path.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
    let table = socket(AddressFamily::NETLINK, SocketType::DGRAM, Some(SOCK_DIAG))?;
    set_socket_timeout(&table, Timeout::Recv, Some(Duration::from_secs(1)))?;
    sendto(&table, &question(), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut peers = HashSet::new();
    loop {
        let (length, _) = recv(&table, &mut *buffer, RecvFlags::empty())?;
        let (entries, is_last) = read(buffer.get(..length).unwrap_or_default());
        let of_path = entries.iter().filter(|entry| entry.inode == Some(inode) && entry.name.ends_with(&name));
        peers.extend(of_path.filter_map(|entry| entry.peer));
        if is_last {
            return Ok(peers);
        }
    }
}

/// The question for all Unix sockets in all states.
fn question() -> Vec<u8> {
    const LENGTH: u32 = 40;
    let mut question = Vec::with_capacity(LENGTH as usize);
    question.extend(LENGTH.to_ne_bytes());
    question.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    question.extend(FLAGS.to_ne_bytes());
    question.extend([0; 8]);
    question.extend([AddressFamily::UNIX.as_raw() as u8, 0, 0, 0]);
    question.extend(u32::MAX.to_ne_bytes());
    question.extend([0; 4]);
    question.extend(COLUMNS.to_ne_bytes());
    question.extend([0; 8]);
    question
}

/// A socket in the table.
#[derive(Debug, Default, PartialEq, Eq)]
struct Entry {
    /// Its path; a connection that was accepted has that of the listener.
    name: Vec<u8>,
    /// The inode of the file at the path.
    inode: Option<u32>,
    /// The number of the socket at the other end.
    peer: Option<u32>,
}

/// Reads the entries of one message from the kernel, and whether it is the last. What cannot be read ends it.
fn read(mut rest: &[u8]) -> (Vec<Entry>, bool) {
    let (mut entries, is_empty) = (Vec::new(), rest.is_empty());
    while let (Some(length), Some(kind)) = (u32_at(rest, 0), u16_at(rest, 4)) {
        if kind == NLMSG_DONE || kind == NLMSG_ERROR {
            return (entries, true);
        }
        let Some(message) = rest.get(HEADER_BYTES..length as usize) else { return (entries, true) };
        entries.extend(message.get(ENTRY_BYTES..).map(entry));
        rest = rest.get(aligned(length as usize)..).unwrap_or_default();
    }
    // An empty read means that nothing more comes.
    (entries, is_empty)
}

fn entry(mut attributes: &[u8]) -> Entry {
    let mut entry = Entry::default();
    while let (Some(length), Some(kind)) = (u16_at(attributes, 0), u16_at(attributes, 2)) {
        let Some(value) = attributes.get(4..length.into()) else { break };
        match kind {
            // The kernel counts the final NUL.
            NAME => entry.name = value.strip_suffix(b"\0").unwrap_or(value).to_vec(),
            VFS => entry.inode = u32_at(value, 0),
            PEER => entry.peer = u32_at(value, 0),
            _ => {}
        }
        attributes = attributes.get(aligned(length.into())..).unwrap_or_default();
    }
    entry
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn own_sockets() -> HashSet<u32> {
        let links = fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|file| fs::read_link(file.path()).ok());
        let number =
            |link: std::path::PathBuf| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
        links.filter_map(number).collect()
    }

    #[test]
    fn the_other_end_of_a_connection_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pcscd.comm");
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(of(&path).unwrap(), HashSet::new());
        let client = UnixStream::connect(&path).unwrap();
        let _accepted = listener.accept().unwrap();
        let peers = of(&path).unwrap();
        assert!(peers.len() == 1 && peers.is_subset(&own_sockets()), "{peers:?}");
        drop(client);
        assert!(of(&folder.path().join("other")).is_err());
    }

    #[test]
    fn a_broken_answer_of_the_kernel_ends_the_reading() {
        assert_eq!(read(&[]), (Vec::new(), true));
        let mut endless = vec![0; 64];
        assert_eq!(read(&endless), (Vec::new(), true), "a length of zero");
        endless[..4].copy_from_slice(&400_u32.to_ne_bytes());
        assert_eq!(read(&endless), (Vec::new(), true), "longer than the message");
        assert_eq!(entry(&[0; 8]), Entry::default());
    }
}
