//! The policy's contact with the world: who asks it, the accounts of the system, the audit trail, `policy check`.

pub mod access;
pub mod accounts;
pub mod audit;
pub mod explain;
