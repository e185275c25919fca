//! The security token below the PIV application: Trussed with its storage in memory, and its behaviour at a loss of
//! power.

use std::slice;

use anyhow::Context as _;
use piv_authenticator::{Authenticator, Options};
use trussed::{
    ClientImplementation,
    backend::BackendId,
    pipe::{ServiceEndpoint, TrussedChannel},
    platform::Syscall,
    serde_extensions::ExtensionDispatch,
    service::Service,
    types::CoreContext,
    virt::{Platform, StoreConfig, with_platform},
};
use trussed_auth::AuthExtension;
use trussed_auth_backend::{AuthBackend, FilesystemLayout};
use trussed_chunked::ChunkedExtension;
use trussed_core::{
    CryptoClient as _, try_syscall,
    types::{Location, PathBuf},
};
use trussed_hpke::HpkeExtension;
use trussed_staging::StagingBackend;
use trussed_wrap_key_to_file::WrapKeyToFileExtension;

use super::apdu::Exchange;

/// A token. Its stored data survive its resets.
pub(super) struct Token<'a>(Service<Platform<'a>, Backends>);

impl Token<'_> {
    /// Calls `work` with a new token, all in this thread.
    pub(super) fn with_new<T>(work: impl FnOnce(Token<'_>) -> T) -> T {
        let backends = Backends {
            staging: StagingBackend::new(),
            auth: AuthBackend::new(Location::Internal, FilesystemLayout::V0),
        };
        with_platform(StoreConfig::ram(), |platform| work(Token(Service::with_dispatch(platform, backends))))
    }

    /// Runs the application from power-on to power-off; `work` gets a function that answers commands. The application
    /// starts with nothing verified and with empty volatile memory, as after a reset: its own `deselect` does neither.
    ///
    /// # Errors
    /// The error of `work`.
    pub(super) fn powered<T>(
        &mut self,
        work: impl FnOnce(&mut dyn FnMut(&[u8]) -> Vec<u8>) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let channel = TrussedChannel::new();
        let (requester, responder) = channel.split().context("the channel is in use")?;
        let folder = PathBuf::try_from("piv").map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let endpoint = ServiceEndpoint::new(responder, CoreContext::new(folder), BACKENDS);
        let call = Call { service: &mut self.0, endpoint };
        let mut client: ClientImplementation<'_, _, Backends> = ClientImplementation::new(requester, call, None);
        // Deletes the keys that a PIN has unlocked. Fails if there was none.
        let _ = try_syscall!(client.delete_all(Location::Volatile));
        let mut exchange = Exchange::default();
        let mut application = Authenticator::new(client, Options::new());
        work(&mut |command| exchange.answer(command, |command, reply| application.respond(command, reply)))
    }
}

/// The application's calls of the token: immediate, in its own thread.
struct Call<'a, 'p> {
    service: &'a mut Service<Platform<'p>, Backends>,
    endpoint: ServiceEndpoint<'a, Backend, <Backends as ExtensionDispatch>::Context>,
}

impl Syscall for Call<'_, '_> {
    fn syscall(&mut self) {
        self.service.process(slice::from_mut(&mut self.endpoint));
    }
}

/// The backends in order: the first that implements a call serves it.
const BACKENDS: &[BackendId<Backend>] =
    &[BackendId::Custom(Backend::Staging), BackendId::Custom(Backend::Auth), BackendId::Core];

#[derive(trussed_derive::ExtensionDispatch)]
#[dispatch(backend_id = "Backend", extension_id = "Extension")]
#[extensions(
    Auth = "AuthExtension",
    Chunked = "ChunkedExtension",
    Hpke = "HpkeExtension",
    WrapKeyToFile = "WrapKeyToFileExtension"
)]
struct Backends {
    #[extensions("Chunked", "Hpke", "WrapKeyToFile")]
    staging: StagingBackend,
    #[extensions("Auth")]
    auth: AuthBackend,
}

#[derive(Clone, Copy)]
enum Backend {
    Staging,
    Auth,
}

#[derive(Clone, Copy, trussed_derive::ExtensionId)]
enum Extension {
    Auth = 0,
    Chunked = 1,
    Hpke = 2,
    WrapKeyToFile = 3,
}
