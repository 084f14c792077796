//! What a user lives through: real servers, real files, real client programs, and a comparison
//! of both sides that is not ours (`psql` and Python's `sqlite3`).

mod failing;
mod gate;
mod hidden;
mod lacking;
mod nodes;
mod outage;
mod outside;
pub mod power;
mod promotion;
mod restore;
pub mod scene;
mod settings;
mod sqlite_away;
mod standby;
mod transactions;
mod unable;
