//! The double from outside: over HTTP, by gspread, and as a program.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;
mod conformance;
mod faults;
mod gspread;
mod program;
mod python;
mod replay;
mod requests;
mod token;
