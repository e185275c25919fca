//! Units: commands that run without another caller's command between them.

use std::{
    ffi::{CString, c_char},
    mem::MaybeUninit,
    ptr,
};

use cardbroker_client::{Delivery, status_word};

use crate::{
    answers::Answers,
    border::{c_text, call, emptied, give, given, text, value},
    client::Client,
    commands::Commands,
    error::Error,
    turn::{Terms, TurnOptions},
};

/// Runs the commands on the card in the reader as one unit: no other caller's command runs between
/// them. Options NULL: the defaults. Stores the answers in *answers, or NULL.
///
/// The reader is given by its name readers/{id}, its id or its display name. If the unit ends early,
/// the error is of the kind CARDBROKER_ERROR_KIND_STOPPED and has the answers before the stop.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardbroker_transmit(
    client: Option<&Client>,
    reader: *const c_char,
    commands: Option<&Commands>,
    options: Option<&TurnOptions>,
    answers: Option<&mut MaybeUninit<*mut Answers>>,
    error: Option<&mut MaybeUninit<*mut Error>>,
) -> i32 {
    call(error, || {
        let answered = emptied(answers, "answers")?;
        // SAFETY: C's promise; see lib.rs.
        let reader = unsafe { text(reader, "reader") }?;
        let commands = given(commands, "commands")?.0.get()?;
        let terms = terms(options)?;
        let transmitted = Client::run(client, Delivery::Unknown, async |client| {
            terms.of_unit(client.transmit(reader)).commands(commands).send().await
        })?;
        give(answered, Answers::of(transmitted));
        Ok(())
    })
}

pub(crate) fn terms(options: Option<&TurnOptions>) -> Result<Terms, Box<Error>> {
    options.map_or_else(|| Ok(Terms::default()), |options| options.0.get())
}

/// The meaning of a status word by ISO/IEC 7816-4, for people; NULL if it has none. To be freed by
/// cardbroker_text_free.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_status_word_meaning(status_word: u16) -> *mut c_char {
    value(ptr::null_mut(), || {
        status_word::meaning(status_word).map_or(ptr::null_mut(), |text| c_text(text.into_owned()).into_raw())
    })
}

/// Frees a text of cardbroker_status_word_meaning. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardbroker_text_free(text: *mut c_char) {
    value((), || {
        if !text.is_null() {
            // SAFETY: C's promise; see lib.rs. It comes from `into_raw`.
            drop(unsafe { CString::from_raw(text) });
        }
    });
}
