//! Errors as the exceptions of `dual_database._errors`.

use dual_database::{Error, Kind, Store};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::answers::store_word;

/// The exception for an error of the library.
pub fn raised(py: Python<'_>, error: &Error) -> PyErr {
    let (class, store) = class_of(error.kind());
    made(py, class, &error.chain(), error.hint(), store)
}

fn class_of(kind: Kind) -> (&'static str, Option<Store>) {
    match kind {
        Kind::Configuration => ("ConfigurationError", None),
        Kind::SourceUnavailable => ("UnavailableError", None),
        Kind::AccessDenied => ("AccessDeniedError", None),
        Kind::Unavailable(store) => ("UnavailableError", Some(store)),
        Kind::NoSpace(store) => ("NoSpaceError", Some(store)),
        Kind::InvalidData => ("InvalidDataError", None),
        Kind::Schema(store) => ("SchemaError", Some(store)),
        Kind::Interrupted => ("ClosedError", None),
        Kind::OutcomeUnknown(store) => ("OutcomeUnknownError", Some(store)),
        Kind::AlreadyExists => ("AlreadyExistsError", None),
        Kind::NotFound => ("NotFoundError", None),
        Kind::Conflict => ("ConflictError", None),
        Kind::Partial(store) => ("PartialError", Some(store)),
        _ => ("InternalError", None),
    }
}

/// A value that a column does not take.
pub fn invalid(py: Python<'_>, message: &str, hint: Option<&str>) -> PyErr {
    made(py, "InvalidDataError", message, hint, None)
}

/// A value of another type than the column's.
pub fn wrong_type(py: Python<'_>, message: &str, hint: Option<&str>) -> PyErr {
    made(py, "InvalidTypeError", message, hint, None)
}

/// A setting that cannot be used.
pub fn configuration(py: Python<'_>, message: &str, hint: &str) -> PyErr {
    made(py, "ConfigurationError", message, Some(hint), None)
}

/// A call on something that was closed, or has ended.
pub fn closed(py: Python<'_>, message: &str) -> PyErr {
    made(py, "ClosedError", message, None, None)
}

/// A defect of ours.
pub fn internal(py: Python<'_>, message: &str) -> PyErr {
    made(py, "InternalError", message, None, None)
}

/// A call in a forked child.
pub fn forked(py: Python<'_>, message: &str) -> PyErr {
    let hint = "open it in each process, after the fork (gunicorn: in post_fork and without \
                preload_app; multiprocessing: in the child, or with the start method spawn), or \
                close it before";
    made(py, "ForkedError", message, Some(hint), None)
}

fn made(
    py: Python<'_>,
    class: &str,
    message: &str,
    hint: Option<&str>,
    store: Option<Store>,
) -> PyErr {
    let made = || {
        let class = py.import("dual_database._errors")?.getattr(class)?;
        let class = class.cast_into::<PyType>()?;
        class.call1((message, hint, store.map(store_word)))
    };
    match made() {
        Ok(exception) => PyErr::from_value(exception),
        // The interpreter is being shut down: its modules are gone.
        Err(_) => PyRuntimeError::new_err(message.to_owned()),
    }
}
