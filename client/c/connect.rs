//! The options of a connection.

use std::{ffi::c_char, path::PathBuf, time::Duration};

use cardbroker_client as client;

use crate::{
    border::{optional_text, value},
    settings::{Settings, set},
};

/// The options of cardbroker_connect. A program sets only what differs from the defaults.
pub struct ConnectOptions(pub(crate) Settings<Options>);

#[derive(Clone)]
pub(crate) struct Options {
    /// `None`: the one of the environment, or else the default places.
    pub(crate) endpoint: Option<client::Endpoint>,
    pub(crate) connect: client::ConnectOptions,
}

impl Options {
    pub(crate) fn from_environment() -> Self {
        Self { endpoint: None, connect: client::ConnectOptions::from_environment() }
    }
}

fn change(options: Option<&ConnectOptions>) -> Option<&Settings<Options>> {
    options.map(|options| &options.0)
}

/// Makes options with the values of the environment: the group of CARDBROKER_GROUP and the token
/// file of CARDBROKER_TOKEN_FILE, if these are set.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_connect_options_new() -> Option<Box<ConnectOptions>> {
    value(None, || Some(Box::new(ConnectOptions(Settings::new(Options::from_environment())))))
}

/// Sets the address of the broker: unix:/path or on Windows npipe:////./pipe/NAME,
/// https://HOST:PORT, http://HOST:PORT on this machine, or tcp:auto. NULL: the one in
/// CARDBROKER_ENDPOINT, or else the first default place that works.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardbroker_connect_options_set_endpoint(
    options: Option<&ConnectOptions>,
    endpoint: *const c_char,
) -> i32 {
    set(change(options), |options| {
        // SAFETY: C's promise; see lib.rs.
        let endpoint = unsafe { optional_text(endpoint, "endpoint") }?;
        options.endpoint = endpoint.map(str::parse).transpose().map_err(client::Error::from)?;
        Ok(())
    })
}

/// Sets the key of the isolation group, 1-128 visible ASCII characters. NULL: a group of this
/// connection alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardbroker_connect_options_set_group(
    options: Option<&ConnectOptions>,
    group: *const c_char,
) -> i32 {
    set(change(options), |options| {
        // SAFETY: C's promise; see lib.rs.
        options.connect.group = unsafe { optional_text(group, "group") }?.map(str::to_owned);
        Ok(())
    })
}

/// Sets the file with the token and the certificate for TCP endpoints, accessible to its owner only;
/// it is read anew for each call and each connection. NULL: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardbroker_connect_options_set_token_file(
    options: Option<&ConnectOptions>,
    path: *const c_char,
) -> i32 {
    set(change(options), |options| {
        // SAFETY: C's promise; see lib.rs.
        options.connect.token_file = unsafe { optional_text(path, "path") }?.map(PathBuf::from);
        Ok(())
    })
}

/// Sets the longest wait of a call for a broker that is away, in milliseconds. Default: 5000; 0
/// allows one attempt.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_connect_options_set_connect_timeout_ms(
    options: Option<&ConnectOptions>,
    milliseconds: u64,
) -> i32 {
    set(change(options), |options| {
        options.connect.connect_timeout = Duration::from_millis(milliseconds);
        Ok(())
    })
}

/// Frees options. NULL is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_connect_options_free(options: Option<Box<ConnectOptions>>) {
    value((), || drop(options));
}
