//! A process that takes and releases the card on request, and reports the times.

use cardbroker_client::{Client, Session};
use pcsc::{Disposition, Error, Protocols, ShareMode};

use super::{
    order, tell,
    units::{Way, connect},
};
use crate::clock;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Hold by transaction or by session.
    #[arg(value_enum)]
    way: Way,
    /// The reader, in PC/SC's name or the broker's.
    reader: String,
    /// Leave the card without a reset at the end of a session.
    #[arg(long)]
    leave: bool,
}

/// Prints "ready". Then, for "take": "waiting" if it must wait (with PC/SC it cannot know: always), and "taken NS". For
/// "leave": "left NS", the time before it did.
pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.way {
        Way::Exclusive | Way::Transaction | Way::Reset => by_transaction(&arguments.reader),
        Way::Transmit | Way::Session => by_session(&arguments.reader, arguments.leave).await,
    }
}

fn by_transaction(reader: &str) -> anyhow::Result<()> {
    let mut card = connect(reader, ShareMode::Shared)?;
    tell("ready")?;
    while order()?.is_some() {
        // PC/SC does not report whether it has to wait.
        tell("waiting")?;
        let mut taken = card.transaction2();
        // A killed holder leaves a card that was reset.
        while let Err((card, Error::ResetCard)) = taken {
            card.reconnect(ShareMode::Shared, Protocols::ANY, Disposition::LeaveCard)?;
            taken = card.transaction2();
        }
        let transaction = taken.map_err(|(_, error)| error)?;
        tell(&format!("taken {}", clock::now()))?;
        order()?;
        let left = clock::now();
        transaction.end(Disposition::LeaveCard).map_err(|(_, error)| error)?;
        tell(&format!("left {left}"))?;
    }
    card.disconnect(Disposition::LeaveCard).map_err(|(_, error)| error.into())
}

async fn by_session(reader: &str, leave: bool) -> anyhow::Result<()> {
    let client = Client::connect_default().await?;
    client.readers().await?;
    tell("ready")?;
    while order()?.is_some() {
        let session = open(&client, reader, leave).await?;
        tell(&format!("taken {}", clock::now()))?;
        order()?;
        let left = clock::now();
        session.close().await?;
        tell(&format!("left {left}"))?;
    }
    Ok(())
}

async fn open(client: &Client, reader: &str, leave: bool) -> anyhow::Result<Session> {
    let opening = client.open_session(reader);
    let opening = if leave { opening.disposition(cardbroker_client::Disposition::Leave) } else { opening };
    let mut told = false;
    let opening = opening.on_queue_position(move |_| {
        if !std::mem::replace(&mut told, true) {
            // The reader of the output may be gone.
            let _ = tell("waiting");
        }
    });
    Ok(opening.open().await?)
}
