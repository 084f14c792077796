//! The library against real files, servers and databases.

mod source_csv;
mod source_google;
mod source_scripted;
