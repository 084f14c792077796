//! What has gone wrong, on its way to the exceptions of `dual_database._errors`.
//!
//! Those are classes of Python, so Python makes them (`_calls.raised`): from here it gets
//! `Failed` with the name of the class and what that is to be told.

use std::io;

use dual_database::{Error, Kind, Store};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

use crate::answers::store_word;

pyo3::create_exception!(dual_database._native, Failed, PyException);

/// An error of the library.
pub fn of(error: &Error) -> PyErr {
    let (class, store) = class_of(error.kind());
    made(class, &error.chain(), error.hint(), store)
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
pub fn invalid(message: &str, hint: Option<&str>) -> PyErr {
    made("InvalidDataError", message, hint, None)
}

/// A value of another type than the column's.
pub fn wrong_type(message: &str, hint: Option<&str>) -> PyErr {
    made("InvalidTypeError", message, hint, None)
}

/// A setting that cannot be used.
pub fn configuration(message: &str, hint: &str) -> PyErr {
    made("ConfigurationError", message, Some(hint), None)
}

/// A call on something that was closed, or has ended.
pub fn closed(message: &str) -> PyErr {
    made("ClosedError", message, None, None)
}

/// The machine has no more threads or descriptors for this process.
pub fn exhausted(what: &str, cause: &io::Error) -> PyErr {
    made("InternalError", &format!("no {what} to be had: {cause}"), None, None)
}

/// A call in a forked child.
pub fn forked(message: &str) -> PyErr {
    let hint = "open it in each process, after the fork (gunicorn: in post_fork and without \
                preload_app; multiprocessing: in the child, or with the start method spawn), or \
                close it before";
    made("ForkedError", message, Some(hint), None)
}

fn made(class: &'static str, message: &str, hint: Option<&str>, store: Option<Store>) -> PyErr {
    let hint = hint.map(ToOwned::to_owned);
    Failed::new_err((class, message.to_owned(), hint, store.map(store_word)))
}
