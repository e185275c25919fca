//! Runs the conformance kit of proto/conformance: plays the broker, tells a driver what to do, and compares.

mod answers;
mod broker;
pub mod case;
pub mod codes;
mod compare;
mod connection;
pub mod contract;
mod driver;
pub mod leave_out;
mod scenario;
mod stage;
mod status;
mod vectors;
mod walk;

use tokio::time::Duration;

/// The longest wait for a client or a driver.
const LIMIT: Duration = Duration::from_secs(10);
