//! The double from outside: over HTTP, by gspread, and as a program.

mod client;
mod conformance;
mod faults;
mod gspread;
mod program;
mod replay;
mod requests;
mod token;
