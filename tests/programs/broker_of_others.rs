//! The program `broker-of-others`: `cardbrokerd` on a PC/SC whose codes have the meaning of other systems than Linux.

use std::sync::Arc;

use cardbroker_server::{
    backend::pcsc::Pcsc,
    listen::Bound,
    process::{flags::Flags, service_manager::ServiceManager, signals::Signals, telemetry},
    server::{self, Server},
};
use clap::Parser;

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let config = flags.settings()?;
    let tokens = server::load_tokens(&config);
    let (_flush_at_end, log) = telemetry::init(&config.log)?;
    let runtime = server::runtime()?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let bound = Bound::bind(&config.listen)?;
        let epoch = server::announce(&config)?;
        let backend = Arc::new(Pcsc::with_codes_of_others());
        let server = Server::start(config, tokens, bound, backend, epoch, Some(log)).await?;
        server.run(async || signals.next().await, move || flags.settings(), ServiceManager::connect()).await?;
        anyhow::Ok(())
    });
    runtime.shutdown_background();
    ended
}
