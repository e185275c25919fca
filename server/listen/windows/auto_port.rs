//! The port of `--tcp auto`: refused, until the endpoint file has a place here that no other user can change.

use std::{net::SocketAddr, path::Path};

use super::super::{
    BindError,
    path_watch::{Kept, PathState},
};
use crate::caller::own_token::OwnToken;

/// The exclusive right to the endpoint file. There is no value of this type.
#[derive(Debug)]
pub(in crate::listen) enum EndpointPlace {}

/// A port that clients can find.
#[derive(Debug)]
pub(in crate::listen) struct AutoPort {
    pub(in crate::listen) token: OwnToken,
    pub(in crate::listen) file: PublishedFile,
}

/// The endpoint file. There is no value of this type.
#[derive(Debug)]
pub(in crate::listen) enum PublishedFile {}

/// Refuses.
///
/// # Errors
/// Always.
pub(in crate::listen) fn prepare() -> Result<EndpointPlace, BindError> {
    let problem = "--tcp auto does not work on Windows yet: choose a port (--tcp 127.0.0.1:7777)";
    Err(BindError::EndpointFile { file: "endpoint.json".into(), problem: problem.into() })
}

impl EndpointPlace {
    /// # Errors
    /// None: it cannot be called.
    pub(in crate::listen) fn publish(self, _: SocketAddr, _: &str) -> Result<AutoPort, BindError> {
        match self {}
    }
}

impl Kept for PublishedFile {
    const LOSS: &'static str = "the endpoint file was removed or replaced";

    fn path(&self) -> &Path {
        match *self {}
    }

    fn check(&mut self) -> PathState {
        match *self {}
    }
}
