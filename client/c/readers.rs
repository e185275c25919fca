//! The readers and the cards in them.

use std::{
    ffi::{CString, c_char},
    mem::MaybeUninit,
    ptr,
};

use cardbroker_client as client;
use client::Delivery;

use crate::{
    border::{address, array, c_text, call, emptied, give, text, value},
    client::Client,
    error::Error,
};

/// A reader and the card in it. Its texts and its answer to reset live as long as it, or as the list
/// or the event to which it belongs.
pub struct Reader {
    name: CString,
    display_name: CString,
    state: i32,
    atr: Vec<u8>,
    active_protocol: i32,
    insertion_id: CString,
    insertion_count: i64,
}

/// A list of readers, ordered by name.
pub struct Readers(Vec<Reader>);

impl From<client::Reader> for Reader {
    fn from(reader: client::Reader) -> Self {
        Self {
            name: c_text(reader.name),
            display_name: c_text(reader.display_name),
            state: reader.state,
            atr: reader.atr,
            active_protocol: reader.active_protocol,
            insertion_id: c_text(reader.insertion_id),
            insertion_count: reader.insertion_count,
        }
    }
}

/// Lists all readers that this program may see. With a connection it takes at most 10 s. Stores the
/// list in *readers, or NULL.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_client_readers(
    client: Option<&Client>,
    readers: Option<&mut MaybeUninit<*mut Readers>>,
    error: Option<&mut MaybeUninit<*mut Error>>,
) -> i32 {
    call(error, || {
        let listed = emptied(readers, "readers")?;
        let readers = Client::run(client, Delivery::NotSent, async |client| client.readers().await)?;
        give(listed, Readers(readers.into_iter().map(Reader::from).collect()));
        Ok(())
    })
}

/// Gets the current state of one reader, given by its name readers/{id}, its id or its display name.
/// With a connection it takes at most 20 s. Stores it in *found, or NULL; it is freed by
/// cardbroker_reader_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardbroker_client_reader(
    client: Option<&Client>,
    reader: *const c_char,
    found: Option<&mut MaybeUninit<*mut Reader>>,
    error: Option<&mut MaybeUninit<*mut Error>>,
) -> i32 {
    call(error, || {
        let found = emptied(found, "found")?;
        // SAFETY: C's promise; see lib.rs.
        let reader = unsafe { text(reader, "reader") }?;
        let reader = Client::run(client, Delivery::NotSent, async |client| client.reader(reader).await)?;
        give(found, reader.into());
        Ok(())
    })
}

/// The number of readers in a list.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_readers_count(readers: Option<&Readers>) -> usize {
    value(0, || readers.map_or(0, |readers| readers.0.len()))
}

/// A reader of a list, which lives as long as the list; NULL if there is none with this index.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_readers_get(readers: Option<&Readers>, index: usize) -> Option<&Reader> {
    value(None, || readers?.0.get(index))
}

/// Frees a list of readers, with the readers in it. NULL is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_readers_free(readers: Option<Box<Readers>>) {
    value((), || drop(readers));
}

/// Frees a reader of cardbroker_client_reader, not one of a list or an event. NULL is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_reader_free(reader: Option<Box<Reader>>) {
    value((), || drop(reader));
}

/// The resource name, readers/{id}, stable while the broker runs. NULL for NULL, as all texts.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_reader_name(reader: Option<&Reader>) -> *const c_char {
    value(ptr::null(), || address(reader.map(|reader| &reader.name)))
}

/// The reader's PC/SC name, for people.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_reader_display_name(reader: Option<&Reader>) -> *const c_char {
    value(ptr::null(), || address(reader.map(|reader| &reader.display_name)))
}

/// The state of the reader and its card (CARDBROKER_READER_STATE_...).
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_reader_state(reader: Option<&Reader>) -> i32 {
    value(0, || reader.map_or(0, |reader| reader.state))
}

/// The card's answer to reset; its length, 2-33, goes to *length. Length 0 without a card or without
/// its answer.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_reader_atr(reader: Option<&Reader>, length: Option<&mut MaybeUninit<usize>>) -> *const u8 {
    value(ptr::null(), || array(reader.map(|reader| &*reader.atr), length))
}

/// The protocol with the card (CARDBROKER_CARD_PROTOCOL_...); 0 unless the state is READY.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_reader_active_protocol(reader: Option<&Reader>) -> i32 {
    value(0, || reader.map_or(0, |reader| reader.active_protocol))
}

/// Identifies this insertion of this card; empty without a card. To be compared for equality only.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_reader_insertion_id(reader: Option<&Reader>) -> *const c_char {
    value(ptr::null(), || address(reader.map(|reader| &reader.insertion_id)))
}

/// The count of insertions in this reader since the broker started, for people.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_reader_insertion_count(reader: Option<&Reader>) -> i64 {
    value(0, || reader.map_or(0, |reader| reader.insertion_count))
}
