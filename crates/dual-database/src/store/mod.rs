//! The two stores, one room each.

#[forbid(unsafe_code)]
pub mod postgres;
pub mod sqlite;
