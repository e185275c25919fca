//! The brokers behind one door, one below the other, so that a broker notices when it is its own PC/SC service.
//!
//! A broker may have the door of another one for its PC/SC service. Each knows the epochs of the brokers below it, the
//! nearest first, and tells them with its own in front. They are in the last place of the array of 16 readers if that
//! place is free: clients ignore it, because its name is empty. A request for the array needs no reader, and pcscd
//! answers it, too; brokers in a ring have no readers.

use std::sync::Arc;

use super::reader_states::{ELEMENT_BYTES, OLD_ELEMENTS};

/// The request for the array, as bytes.
pub const REQUEST: [u32; 2] = [0, 0x12];
/// The bytes of its answer.
pub const ANSWER_BYTES: usize = OLD_ELEMENTS * ELEMENT_BYTES;
/// The maximum number of epochs in a chain.
pub const LONGEST: usize = 6;

/// In front of the epochs, behind the empty name.
const MARK: &[u8] = b"\0cardbroker";
/// The bytes of a reader's name in the array.
const NAME_BYTES: usize = 128;

/// The epochs of brokers, each of which has the door of the next one for its PC/SC service.
pub type Chain = Arc<[Arc<str>]>;

/// The chain that a broker tells, with its own epoch in front of those `below` it. Ends before a second occurrence of
/// the own epoch, which closes a ring.
pub fn with_own(own: &Arc<str>, below: &[Arc<str>]) -> Chain {
    let below = below.iter().take_while(|epoch| *epoch != own).cloned();
    [Arc::clone(own)].into_iter().chain(below).take(LONGEST).collect()
}

/// The number of other brokers in the ring that the broker `own` closes by using a service with this chain; `None` if
/// there is no ring.
pub fn ring(own: &str, below: &[Arc<str>]) -> Option<usize> {
    below.iter().position(|epoch| **epoch == *own)
}

/// Writes the chain into an array of 16 readers, if there is a free place for it. Leaves out the end if it does not
/// fit: a service below may tell anything.
pub fn write(array: &mut [u8], chain: &[Arc<str>]) {
    let Some(name) = place(array.len()).and_then(|place| array.get_mut(place)) else { return };
    let mut text = MARK.to_vec();
    for epoch in chain {
        if text.len() + 1 + epoch.len() > name.len() {
            break;
        }
        text.push(b' ');
        text.extend(epoch.bytes());
    }
    if let Some(field) = name.get_mut(..text.len())
        && field.first() == Some(&0)
    {
        field.copy_from_slice(&text);
    }
}

/// Reads the chain from an array of 16 readers, which may have any content; empty for a service that is no broker's
/// door.
pub fn read(array: &[u8]) -> Chain {
    let name = place(array.len()).and_then(|place| array.get(place)).unwrap_or_default();
    let text = name.strip_prefix(MARK).and_then(|rest| rest.split(|byte| *byte == 0).next()).unwrap_or_default();
    let words = text.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    words.map(|word| String::from_utf8_lossy(word).into()).collect()
}

/// The bytes of the last place's name.
fn place(length: usize) -> Option<std::ops::Range<usize>> {
    (length == ANSWER_BYTES).then(|| length - ELEMENT_BYTES..length - ELEMENT_BYTES + NAME_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|name| (*name).into()).collect()
    }

    #[test]
    fn a_chain_is_read_as_it_was_written() {
        let full: Vec<Arc<str>> = (0..LONGEST).map(|number| format!("{number:016x}").into()).collect();
        for chain in [epochs(&["a"]), epochs(&["a", "b"]), full] {
            let mut array = vec![0; ANSWER_BYTES];
            write(&mut array, &chain);
            assert_eq!(*read(&array), *chain);
            assert!(array[..ANSWER_BYTES - ELEMENT_BYTES].iter().all(|byte| *byte == 0));
            assert_eq!(array[ANSWER_BYTES - ELEMENT_BYTES], 0, "the place stays free");
            assert!(array[ANSWER_BYTES - ELEMENT_BYTES + NAME_BYTES..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn a_reader_in_the_last_place_stays() {
        let mut array = vec![0; ANSWER_BYTES];
        array[ANSWER_BYTES - ELEMENT_BYTES] = b'R';
        let before = array.clone();
        write(&mut array, &epochs(&["a"]));
        assert_eq!(array, before);
        assert!(read(&array).is_empty() && read(&[0; 16]).is_empty() && read(&vec![0; ANSWER_BYTES]).is_empty());
    }

    #[test]
    fn a_service_with_overlong_epochs_hides_no_broker() {
        let mut array = vec![0; ANSWER_BYTES];
        write(&mut array, &with_own(&"own".into(), &epochs(&[&"x".repeat(113), "y"])));
        assert_eq!(*read(&array), *epochs(&["own"]));
        assert_eq!(ring("own", &read(&array)), Some(0));
    }

    /// Lets each of `count` brokers in a ring look at the next one's door in this order, and returns who has noticed.
    fn noticed(count: usize, order: &[usize]) -> Vec<bool> {
        let own: Vec<Arc<str>> = (0..count).map(|number| format!("{number}").into()).collect();
        let mut below = vec![Chain::default(); count];
        let mut noticed = vec![false; count];
        for broker in order {
            let next = (broker + 1) % count;
            below[*broker] = with_own(&own[next], &below[next]);
            noticed[*broker] = ring(&own[*broker], &below[*broker]).is_some();
        }
        noticed
    }

    #[test]
    fn each_broker_of_a_ring_notices_it_in_the_end() {
        assert_eq!(noticed(2, &[1, 0]), [true, false], "the second one that looks");
        for count in 1..=LONGEST {
            let rounds: Vec<usize> = (0..count).flat_map(|_| 0..count).collect();
            assert_eq!(noticed(count, &rounds), vec![true; count], "{count} brokers");
            assert_eq!(noticed(count, &rounds.into_iter().rev().collect::<Vec<_>>()), vec![true; count]);
        }
    }

    #[test]
    fn a_broker_behind_others_is_in_no_ring() {
        let [pcscd, outer] = [Chain::default(), with_own(&"outer".into(), &[])];
        let middle = with_own(&"middle".into(), &outer);
        assert_eq!(*middle, *epochs(&["middle", "outer"]));
        assert_eq!([ring("inner", &pcscd), ring("inner", &outer), ring("inner", &middle)], [None; 3]);
        assert_eq!(ring("outer", &middle), Some(1), "one other broker");
    }
}
