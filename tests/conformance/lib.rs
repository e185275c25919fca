//! Runs the conformance kit of proto/conformance: plays the broker, gives orders to a driver, and compares.

mod answers;
mod broker;
pub mod case;
pub mod codes;
mod compare;
mod connection;
pub mod contract;
mod driver;
pub mod lacks;
pub mod leave_out;
mod scenario;
mod stage;
mod status;
mod tls;
mod vectors;
mod walk;

use tokio::time::Duration;

/// The limit of every wait for a client or a driver.
const LIMIT: Duration = Duration::from_secs(10);
