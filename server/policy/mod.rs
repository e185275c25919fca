//! The server's side of the policy: access checks, accounts of the system, the audit trail, `policy check`.

pub mod access;
pub mod accounts;
pub mod audit;
pub mod explain;
