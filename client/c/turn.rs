//! The terms of a turn, of a unit and of a session.

use std::{ffi::c_char, time::Duration};

use cardbroker_client as client;
use client::{CardRequirement, CardReset, Disposition, OpenSession, Transmit};

use crate::{
    border::{bytes, constant, text, value},
    settings::{Settings, set},
};

/// The options of cardbroker_transmit and cardbroker_open_session. A program sets only what differs
/// from the defaults; options may be used for several calls.
pub struct TurnOptions(pub(crate) Settings<Terms>);

/// Empty and unspecified values are the broker's defaults.
#[derive(Clone, Default)]
pub(crate) struct Terms {
    wait_timeout: Option<Duration>,
    card: CardRequirement,
    if_insertion_id: String,
    if_state_tag: String,
    if_not_raised: bool,
    reset_before: CardReset,
    disposition: Disposition,
    deadline: Option<Duration>,
    request_id: Vec<u8>,
    is_repeatable: bool,
    any_card: bool,
    idle_timeout: Option<Duration>,
}

/// Sets the terms that units and sessions have in common.
macro_rules! common {
    ($terms:expr, $call:expr) => {{
        let Terms { card, if_insertion_id, if_state_tag, reset_before, disposition, .. } = $terms;
        let mut call = $call
            .card(*card)
            .if_insertion_id(if_insertion_id.clone())
            .if_state_tag(if_state_tag.clone())
            .reset_before(*reset_before)
            .disposition(*disposition);
        if let Some(timeout) = $terms.wait_timeout {
            call = call.wait_timeout(timeout);
        }
        if $terms.if_not_raised {
            call = call.if_not_raised();
        }
        call
    }};
}

impl Terms {
    pub(crate) fn of_unit(&self, unit: Transmit) -> Transmit {
        let mut unit = common!(self, unit).request_id(self.request_id.clone());
        if let Some(deadline) = self.deadline {
            unit = unit.deadline(deadline);
        }
        if self.is_repeatable {
            unit = unit.repeatable();
        }
        if self.any_card { unit.on_any_card() } else { unit }
    }

    pub(crate) fn of_session(&self, session: OpenSession) -> OpenSession {
        let session = common!(self, session);
        match self.idle_timeout {
            Some(timeout) => session.idle_timeout(timeout),
            None => session,
        }
    }
}

fn change(options: Option<&TurnOptions>) -> Option<&Settings<Terms>> {
    options.map(|options| &options.0)
}

/// Makes options with the defaults.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_turn_options_new() -> Option<Box<TurnOptions>> {
    value(None, || Some(Box::new(TurnOptions(Settings::new(Terms::default())))))
}

/// Sets the longest wait for the turn, in milliseconds, at most 24 h. 0: the turn begins at once or
/// fails. Default: 30 s.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_turn_options_set_wait_timeout_ms(options: Option<&TurnOptions>, milliseconds: u64) -> i32 {
    set(change(options), |terms| {
        terms.wait_timeout = Some(Duration::from_millis(milliseconds));
        Ok(())
    })
}

/// Sets whether the turn fails at once without a usable card (CARDBROKER_CARD_REQUIREMENT_REQUIRED,
/// the default) or waits for one up to the wait timeout (..._AWAITED).
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_turn_options_set_card(options: Option<&TurnOptions>, requirement: i32) -> i32 {
    set(change(options), |terms| {
        terms.card = constant(requirement, "requirement")?;
        Ok(())
    })
}

/// Fails, not sent, unless the card is still in this insertion (cardbroker_reader_insertion_id).
/// Empty, the default: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardbroker_turn_options_set_if_insertion_id(
    options: Option<&TurnOptions>,
    insertion_id: *const c_char,
) -> i32 {
    set(change(options), |terms| {
        // SAFETY: C's promise; see lib.rs.
        terms.if_insertion_id = unsafe { text(insertion_id, "insertion_id") }?.to_owned();
        Ok(())
    })
}

/// Fails, not sent, if the card was used or reset since this state tag
/// (cardbroker_answers_state_tag). Empty, the default: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardbroker_turn_options_set_if_state_tag(
    options: Option<&TurnOptions>,
    state_tag: *const c_char,
) -> i32 {
    set(change(options), |terms| {
        // SAFETY: C's promise; see lib.rs.
        terms.if_state_tag = unsafe { text(state_tag, "state_tag") }?.to_owned();
        Ok(())
    })
}

/// Fails, not sent, if the card may hold security state of any caller, this one included, such as a
/// verified PIN. Default: 0.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_turn_options_set_if_not_raised(options: Option<&TurnOptions>, if_not_raised: i32) -> i32 {
    set(change(options), |terms| {
        terms.if_not_raised = if_not_raised != 0;
        Ok(())
    })
}

/// Sets the reset of the card before the first command (CARDBROKER_CARD_RESET_...). Default: none.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_turn_options_set_reset_before(options: Option<&TurnOptions>, reset: i32) -> i32 {
    set(change(options), |terms| {
        terms.reset_before = constant(reset, "reset")?;
        Ok(())
    })
}

/// Sets the treatment of the card after a unit's last command that runs, or after
/// cardbroker_session_close (CARDBROKER_DISPOSITION_...). Default: LEAVE for a unit, RESET for a
/// session.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_turn_options_set_disposition(options: Option<&TurnOptions>, disposition: i32) -> i32 {
    set(change(options), |terms| {
        terms.disposition = constant(disposition, "disposition")?;
        Ok(())
    })
}

/// Of a unit: sets the deadline of the whole call, in milliseconds from its beginning, at most 48 h.
/// Default: the wait and 150 s for the card. A unit that has begun runs on after it, and its
/// delivery is UNKNOWN.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_turn_options_set_deadline_ms(options: Option<&TurnOptions>, milliseconds: u64) -> i32 {
    set(change(options), |terms| {
        terms.deadline = Some(Duration::from_millis(milliseconds));
        Ok(())
    })
}

/// Of a unit: makes a repeat safe: a second unit with the same id (16-64 random bytes) gets the
/// outcome of the first. Length 0, the default: no id.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardbroker_turn_options_set_request_id(
    options: Option<&TurnOptions>,
    id: *const u8,
    length: usize,
) -> i32 {
    set(change(options), |terms| {
        // SAFETY: C's promise; see lib.rs.
        terms.request_id = unsafe { bytes(id, length, "id") }?.to_vec();
        Ok(())
    })
}

/// Of a unit: repeats it by itself if the connection is lost before its outcome is known, at most 3
/// times, under one request id and on one insertion: the broker executes it once. Default: 0.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_turn_options_set_repeatable(options: Option<&TurnOptions>, repeatable: i32) -> i32 {
    set(change(options), |terms| {
        terms.is_repeatable = repeatable != 0;
        Ok(())
    })
}

/// Of a unit: lets a repeat run on any card; a restarted broker may then execute the unit again.
/// Default: 0.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_turn_options_set_any_card(options: Option<&TurnOptions>, any_card: i32) -> i32 {
    set(change(options), |terms| {
        terms.any_card = any_card != 0;
        Ok(())
    })
}

/// Of a session: sets the idle time in milliseconds, 0.1 s-60 s, after which the broker revokes it
/// while others wait. Default: 10 s.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_turn_options_set_idle_timeout_ms(options: Option<&TurnOptions>, milliseconds: u64) -> i32 {
    set(change(options), |terms| {
        terms.idle_timeout = Some(Duration::from_millis(milliseconds));
        Ok(())
    })
}

/// Frees options. NULL is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_turn_options_free(options: Option<Box<TurnOptions>>) {
    value((), || drop(options));
}
