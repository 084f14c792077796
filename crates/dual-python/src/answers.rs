//! The library's answers as the classes of `dual_database._answers`.

use dual_database::database::{
    Conflict, Damage, Found, QuarantinedRow, SideStatus, Status, User, Verification, Written,
};
use dual_database::health::StoreState;
use dual_database::sync::engine::Exchange;
use dual_database::{Result, Store};
use pyo3::call::PyCallArgs;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::values::dictionary;

/// A store's name in Python.
pub fn store_word(store: Store) -> &'static str {
    match store {
        Store::Postgres => "postgres",
        Store::Sqlite => "sqlite",
    }
}

/// `Written`: where the write is, and the user as it is then.
pub fn written(py: Python<'_>, answer: &Written<Option<User>>) -> PyResult<Py<PyAny>> {
    let user = answer.value().as_ref().map(|user| dictionary(py, user)).transpose()?;
    made(py, "Written", (user, answer.is_in(Store::Postgres), answer.is_in(Store::Sqlite)))
}

/// A user, or `None`.
pub fn user(py: Python<'_>, user: Option<&User>) -> PyResult<Py<PyAny>> {
    Ok(match user {
        Some(user) => dictionary(py, user)?.into_any().unbind(),
        None => py.None(),
    })
}

/// Users as a list.
pub fn user_list(py: Python<'_>, users: &[User]) -> PyResult<Py<PyAny>> {
    let list = PyList::empty(py);
    for user in users {
        list.append(dictionary(py, user)?)?;
    }
    Ok(list.into_any().unbind())
}

/// `Found`: the user, who answered, and how old the answer may be.
pub fn found(py: Python<'_>, answer: &Found<Option<User>>) -> PyResult<Py<PyAny>> {
    let value = user(py, answer.value.as_ref())?;
    let age = answer.age.map(|age| age.as_secs_f64());
    made(py, "Found", (value, store_word(answer.source), age))
}

/// `Exchange`.
pub fn exchange(py: Python<'_>, done: &Exchange) -> PyResult<Py<PyAny>> {
    made(py, "Exchange", (done.pending, done.quarantined, done.caught_up, done.held))
}

/// `Status`.
pub fn status(py: Python<'_>, found: &Status) -> PyResult<Py<PyAny>> {
    let errors: Vec<_> = found
        .recent_errors
        .iter()
        .map(|error| {
            made(
                py,
                "RecentError",
                (moment(error.at_ms), store_word(error.store), error.message.as_str()),
            )
        })
        .collect::<PyResult<_>>()?;
    let damage = found.damage.as_ref().map(|all| {
        let each = |one: &Damage| {
            let parts = (moment(one.noted_ms), &one.aside, one.taken, one.unreadable, one.refused);
            made(py, "Damage", parts)
        };
        all.iter().map(each).collect::<PyResult<Vec<_>>>()
    });
    let damage = damage.transpose()?;
    made(
        py,
        "Status",
        (
            side(py, &found.postgres)?,
            side(py, &found.sqlite)?,
            found.pending_to_postgres,
            found.pending_to_sqlite,
            found.conflicts,
            found.quarantined,
            found.last_sync_age_ms.map(|age| age as f64 / 1_000.0),
            found.sync,
            found.held_losses,
            found.wal_bytes,
            errors,
            damage,
        ),
    )
}

fn side(py: Python<'_>, side: &SideStatus) -> PyResult<Py<PyAny>> {
    let (state, reason, hint) = match &side.state {
        StoreState::Up => ("up", None, None),
        StoreState::Down { reason, hint, .. } => ("down", Some(reason), hint.as_ref()),
        StoreState::NeedsInit { reason, hint, .. } => ("needs_init", Some(reason), hint.as_ref()),
    };
    made(py, "StoreStatus", (state, reason, hint))
}

/// `Verification`.
pub fn verification(py: Python<'_>, found: &Verification) -> PyResult<Py<PyAny>> {
    let tables: Vec<_> = found
        .tables
        .iter()
        .map(|table| {
            let parts = (
                table.table,
                table.rows_postgres,
                table.rows_sqlite,
                table.different,
                table.only_postgres,
                table.only_sqlite,
                table.quarantined,
                table.keys.as_slice(),
            );
            made(py, "TableDifference", parts)
        })
        .collect::<PyResult<_>>()?;
    made(py, "Verification", (found.equal, tables))
}

/// A list of `Conflict`.
pub fn conflicts(py: Python<'_>, found: &[Conflict]) -> PyResult<Py<PyAny>> {
    let list = PyList::empty(py);
    for entry in found {
        let parts = (
            entry.table,
            entry.key,
            entry.column,
            entry.winning.as_deref(),
            entry.losing.as_deref(),
            moment(entry.winner_ms),
            moment(entry.loser_ms),
            moment(entry.noted_ms),
            entry.reviewed,
        );
        list.append(made(py, "Conflict", parts)?)?;
    }
    Ok(list.into_any().unbind())
}

/// A list of `QuarantinedRow`.
pub fn quarantine(py: Python<'_>, found: &[QuarantinedRow]) -> PyResult<Py<PyAny>> {
    let list = PyList::empty(py);
    for row in found {
        let parts = (
            row.table,
            row.key,
            store_word(row.refused_by),
            row.code.as_str(),
            row.reason.as_str(),
            moment(row.since_ms),
        );
        list.append(made(py, "QuarantinedRow", parts)?)?;
    }
    Ok(list.into_any().unbind())
}

/// A moment outside the calendar is none.
fn moment(unix_ms: i64) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_millisecond(unix_ms).ok()
}

/// An answer without a user.
pub fn without_user<T>(answer: Written<T>) -> Written<Option<User>> {
    answer.map(|_| None)
}

/// An answer with one.
pub fn with_user(answer: Result<Written<User>>) -> Result<Written<Option<User>>> {
    Ok(answer?.map(Some))
}

fn made<'py>(py: Python<'py>, class: &str, parts: impl PyCallArgs<'py>) -> PyResult<Py<PyAny>> {
    Ok(py.import("dual_database._answers")?.getattr(class)?.call1(parts)?.unbind())
}
