//! The connection to the broker.

use std::{
    ffi::{CString, c_char},
    mem::MaybeUninit,
    ptr,
    sync::Arc,
};

use cardbroker_client as client;
use client::Delivery;

use crate::{
    border::{address, c_text, call, emptied, give, given, value},
    connect::{ConnectOptions, Options},
    error::Error,
    home::Home,
    stop::Stop,
};

/// A connection to the broker. After a loss the next call connects again. Sessions and watches share
/// it and keep it, even if it is freed before them.
pub struct Client {
    home: Arc<Home>,
    client: client::Client,
    endpoint: CString,
    stop: Stop,
}

impl Client {
    /// The connection, with what its handles share.
    ///
    /// # Errors
    /// The handle is NULL or belongs to the parent of this process.
    pub(crate) fn of(client: Option<&Self>) -> Result<(&Arc<Home>, &client::Client), Box<Error>> {
        let Self { home, client, .. } = given(client, "client")?;
        home.check()?;
        Ok((home, client))
    }

    /// Makes a call on the caller's thread, unless the program stops the client.
    ///
    /// # Errors
    /// As [`Self::of`]; the call's; it was stopped, `Error::stopped` with this `delivery` if it had begun.
    pub(crate) fn run<T>(
        client: Option<&Self>,
        delivery: Delivery,
        call: impl AsyncFnOnce(&client::Client) -> Result<T, client::Error>,
    ) -> Result<T, Box<Error>> {
        let Self { home, client, stop, .. } = given(client, "client")?;
        home.check()?;
        if stop.is_set() {
            return Err(Error::stopped(Delivery::NotSent));
        }
        Ok(home.wait(stop.unless(call(client))).ok_or_else(|| Error::stopped(delivery))??)
    }
}

/// Connects to the broker. Options NULL: those of the environment. Stores the connection in *client,
/// or NULL if there is none.
///
/// With a default place the client stays with the first one that works; it is used only if no user
/// besides this one and root decides what is there.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_connect(
    options: Option<&ConnectOptions>,
    client: Option<&mut MaybeUninit<*mut Client>>,
    error: Option<&mut MaybeUninit<*mut Error>>,
) -> i32 {
    call(error, || {
        let connected = emptied(client, "client")?;
        let Options { endpoint, connect } =
            options.map_or_else(|| Ok(Options::from_environment()), |options| options.0.get())?;
        let home = Home::new()?;
        let client = home.wait(async {
            match endpoint {
                Some(endpoint) => client::Client::connect_with(endpoint, connect).await,
                None => client::Client::find(connect).await,
            }
        })?;
        let endpoint = c_text(client.endpoint().to_string());
        give(connected, Client { home, client, endpoint, stop: Stop::new() });
        Ok(())
    })
}

/// The address of the broker, in the notation of cardbroker_connect_options_set_endpoint. It lives
/// as long as the connection. NULL for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_client_endpoint(client: Option<&Client>) -> *const c_char {
    value(ptr::null(), || address(client.map(|client| &client.endpoint)))
}

/// Ends the connection's calls: cardbroker_transmit, cardbroker_open_session, cardbroker_client_readers,
/// cardbroker_client_reader and cardbroker_client_broker, those in progress and every later one, fail
/// with CARDBROKER_CODE_CANCELLED. The delivery of a unit in progress is UNKNOWN. Sessions and watches
/// go on. Any thread may call it, and it does not wait. The handle must still be freed.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_client_stop(client: Option<&Client>) {
    value((), || {
        if let Some(client) = client.filter(|client| client.home.check().is_ok()) {
            client.stop.set();
        }
    });
}

/// Frees a connection. NULL is allowed. In a forked child the parent's handle is left alone.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_client_free(client: Option<Box<Client>>) {
    value((), || Home::free(client, |client| &client.home));
}
