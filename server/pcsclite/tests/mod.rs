//! The door in front of a broker with simulated readers, in one process: programs speak the protocol themselves.

mod calls;
mod conversations;
mod idle;
mod on_demand;
mod pins;
mod program;
mod resets;
mod sharing;
