//! The synchroniser: what it does, with which failures, is in `DESIGN.md` beside this file; the
//! decisions, as pure code, are in [`crate::protocol`].

pub mod engine;
