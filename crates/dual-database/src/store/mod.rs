//! The two stores, one room each.

pub mod postgres;
pub mod sqlite;
