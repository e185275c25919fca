//! The door in front of a broker with simulated readers, in one process: programs speak the protocol themselves.

mod audit;
mod calls;
mod conversations;
mod idle;
mod limits;
mod misses;
mod news;
mod on_demand;
mod own_process;
mod own_queue;
mod paced;
mod pins;
mod private;
mod program;
mod pulled;
mod recorded;
mod refused;
mod released;
mod resets;
mod second_exclusive;
mod sharing;
mod terms;
mod uncertain;
mod unclaimed;
mod unknown_users;
mod waits;
