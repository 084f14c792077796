//! The extension module of the Python package `dual_database`. What a person sees is written in
//! Python (`python/dual_database`); here are the calls, the conversions of values and errors, and
//! what two runtimes need to live in one process:
//!
//! - `home`: the runtime of this process, and what a fork does to it;
//! - `call`: one call, to be waited for by a thread or by a coroutine (`mailbox`);
//! - `tray`: how something gets from the runtime to Python;
//! - `database`, `transaction`: what can be called;
//! - `values`, `answers`, `failure`: from Python and back;
//! - `log`: the library's log in Python's `logging`; `program`: the command line.
//!
//! No thread but Python's own ever calls Python, and from here nothing is called that could run
//! code of Python: how a program ends depends on it, see DESIGN.md.

#![forbid(unsafe_code)]

mod answers;
mod call;
mod database;
mod failure;
mod home;
mod log;
mod mailbox;
mod program;
mod transaction;
mod tray;
mod values;

use pyo3::prelude::*;

/// The part of `dual_database` that is written in Rust.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("Failed", module.py().get_type::<failure::Failed>())?;
    module.add_class::<call::Call>()?;
    module.add_class::<mailbox::Mailbox>()?;
    module.add_class::<database::Database>()?;
    module.add_class::<database::Users>()?;
    module.add_class::<transaction::Transaction>()?;
    module.add_function(wrap_pyfunction!(database::open, module)?)?;
    module.add_function(wrap_pyfunction!(log::log_fileno, module)?)?;
    module.add_function(wrap_pyfunction!(log::has_records, module)?)?;
    module.add_function(wrap_pyfunction!(log::next_record, module)?)?;
    module.add_function(wrap_pyfunction!(log::ring_log, module)?)?;
    module.add_function(wrap_pyfunction!(program::dual, module)?)?;
    #[cfg(feature = "import")]
    module.add_function(wrap_pyfunction!(program::dual_migrate, module)?)?;
    Ok(())
}
