//! The context of a connection: its beginning, its end, and the cancellation of its wait.

use cardbroker_core::pcsclite::code::Code;
use tokio::sync::watch;

use super::{connection::Connection, input::Ended};

pub(super) struct Context {
    /// The number by which the client names it.
    number: u32,
    /// Changes when the wait of the context is cancelled.
    cancelled: watch::Receiver<()>,
}

impl Connection {
    pub(super) fn establish(&mut self) -> Result<u32, Code> {
        if self.context.is_some() {
            return Err(Code::INVALID_VALUE);
        }
        let (number, cancelled) = self.shared.state.establish(&self.member, &self.user)?;
        self.context = Some(Context { number, cancelled });
        self.refresh();
        Ok(number)
    }

    /// Ends the context with its handles.
    pub(super) fn release(&mut self) {
        for handle in self.turns.handles() {
            self.abandon_turn(handle);
        }
        if let Some(Context { number, .. }) = self.context.take() {
            self.shared.state.handles(|handles| {
                for handle in handles.of_context(number) {
                    handles.disconnect(handle);
                }
            });
            self.shared.state.release(number);
            self.refresh();
        }
    }

    /// The context, which must be established.
    pub(super) fn context(&self) -> Result<u32, Ended> {
        self.context.as_ref().map(|context| context.number).ok_or(Ended::Foreign)
    }

    /// A wait begins: what was cancelled before concerns an earlier one.
    pub(super) fn forget_cancellation(&mut self) {
        if let Some(context) = &mut self.context {
            context.cancelled.mark_unchanged();
        }
    }

    /// Checks that the client names its own context.
    pub(super) fn check_context(&self, context: u32) -> Result<(), Ended> {
        if self.context()? == context { Ok(()) } else { Err(Ended::Foreign) }
    }
}

/// Waits until the wait of the context is cancelled.
pub(super) async fn cancelled(context: Option<&mut Context>) {
    if let Some(context) = context
        && context.cancelled.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}
