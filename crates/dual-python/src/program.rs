//! The command line, with the words that Python was given.

use std::ffi::OsString;

use pyo3::prelude::*;

/// Runs `dual` with these words, its own name first; gives its exit code.
#[pyfunction]
pub fn dual(py: Python<'_>, words: Vec<OsString>) -> u8 {
    py.detach(|| dual_cli::dual(words))
}

/// Runs `dual_migrate` with these words, its own name first; gives its exit code.
#[cfg(feature = "import")]
#[pyfunction]
pub fn dual_migrate(py: Python<'_>, words: Vec<OsString>) -> u8 {
    py.detach(|| dual_cli::dual_migrate(words))
}
