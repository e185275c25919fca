//! The program behind the conformance kit in proto/conformance: it plays the broker, tells a client's driver what to do, and compares.

mod answers;
mod broker;
pub mod case;
pub mod codes;
mod compare;
pub mod contract;
mod driver;
mod scenario;
mod stage;
mod status;
mod vectors;
mod walk;

use tokio::time::Duration;

/// The longest wait for a client or a driver.
const LIMIT: Duration = Duration::from_secs(10);
