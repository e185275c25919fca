//! The port of `--tcp auto`: refused, until the endpoint file has a place here that no other user can change.

use std::net::SocketAddr;

use crate::{caller::own_token::OwnToken, listen::BindError};

/// The exclusive right to the endpoint file. There is no value of this type.
#[derive(Debug)]
pub(in crate::listen) enum EndpointPlace {}

/// A port that clients can find. There is no value of this type.
#[derive(Debug)]
pub(in crate::listen) enum AutoPort {}

/// Keeps the endpoint file at its path. There is no value of this type.
#[derive(Debug)]
pub(in crate::listen) enum EndpointGuard {}

impl EndpointPlace {
    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub(in crate::listen) fn prepare() -> Result<Self, BindError> {
        let problem = "--tcp auto does not work on Windows yet: choose a port (--tcp 127.0.0.1:7777)";
        Err(BindError::EndpointFile { file: "endpoint.json".into(), problem: problem.into() })
    }

    /// # Errors
    /// None: it cannot be called.
    pub(in crate::listen) fn publish(self, _: SocketAddr, _: &str) -> Result<AutoPort, BindError> {
        match self {}
    }
}

impl AutoPort {
    /// The token in the endpoint file.
    pub(in crate::listen) fn token(&self) -> &OwnToken {
        match *self {}
    }

    /// Keeps the endpoint file at its path.
    pub(in crate::listen) fn keep(self) -> EndpointGuard {
        match self {}
    }
}
