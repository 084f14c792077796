//! The library's answers as plain values of Python: `dual_database._answers` makes its classes of
//! them.

use dual_database::database::{
    Conflict, Damage, Found, Paused, QuarantinedRow, SideStatus, Status, Verification, Written,
};
use dual_database::health::StoreState;
use dual_database::sync::Exchange;
use dual_database::users::User;
use dual_database::{Result, Store};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use pyo3::{IntoPyObjectExt as _, PyTypeInfo};

use crate::values::dictionary;
use dual_database::schema::Key;
use dual_database::value::Value;

/// A store's name in Python.
pub fn store_word(store: Store) -> &'static str {
    match store {
        Store::Postgres => "postgres",
        Store::Sqlite => "sqlite",
    }
}

/// For `Written`: where the write is, and the user as it is then.
pub fn written(py: Python<'_>, answer: &Written<Option<User>>) -> PyResult<Py<PyAny>> {
    let user = user(py, answer.value().as_ref())?;
    (user, answer.is_in(Store::Postgres), answer.is_in(Store::Sqlite)).into_py_any(py)
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
    list(py, users, |user| dictionary(py, user))
}

/// For `Found`: the user, who answered, and how old the answer may be.
pub fn found(py: Python<'_>, answer: &Found<Option<User>>) -> PyResult<Py<PyAny>> {
    let age = answer.age.map(|age| age.as_secs_f64());
    (user(py, answer.value.as_ref())?, store_word(answer.source), age).into_py_any(py)
}

/// For `Exchange`.
pub fn exchange(py: Python<'_>, done: &Exchange) -> PyResult<Py<PyAny>> {
    (done.pending, done.quarantined, done.caught_up, done.held).into_py_any(py)
}

/// For `Status`: two of `StoreStatus`, the numbers, and a list of `RecentError`.
pub fn status(py: Python<'_>, found: &Status) -> PyResult<Py<PyAny>> {
    let errors = list(py, &found.recent_errors, |error| {
        (moment(error.at_ms), store_word(error.store), error.message.as_str()).into_pyobject(py)
    })?;
    let failing = list(py, &found.failing, |one| {
        (
            one.step.as_str(),
            store_word(one.store),
            one.message.as_str(),
            one.hint.as_deref(),
            moment(one.since_ms),
            moment(one.last_ms),
            one.times,
        )
            .into_pyobject(py)
    })?;
    let paused = paused(py, &found.paused)?;
    let verified = found.verified.as_ref().map(|pass| (moment(pass.ended_ms), pass.found));
    let damage = found.damage.as_ref().map(|all| {
        list(py, all, |one: &Damage| {
            (moment(one.noted_ms), &one.aside, one.taken, one.unreadable, one.refused)
                .into_pyobject(py)
        })
    });
    let numbers = (
        found.pending_to_postgres,
        found.pending_to_sqlite,
        found.conflicts,
        found.quarantined,
        found.last_sync_age_ms.map(|age| age as f64 / 1_000.0),
        found.sync,
        found.held_losses,
        found.wal_bytes,
        found.exposed.as_deref(),
    );
    let ahead_until = found.ahead_until_ms.and_then(moment);
    let not_carried = list(py, &found.not_carried, |one| {
        (&*one.table, &*one.column, store_word(one.store)).into_pyobject(py)
    })?;
    let comparing = list(py, &found.comparing, |one| (&*one.table, one.reason).into_pyobject(py))?;
    let more = (ahead_until, not_carried, comparing);
    let told = (errors, failing, paused, verified, damage.transpose()?, more);
    (side(&found.postgres), side(&found.sqlite), numbers, told).into_py_any(py)
}

fn side(side: &SideStatus) -> (&'static str, Option<&str>, Option<&str>) {
    match &side.state {
        StoreState::Up => ("up", None, None),
        StoreState::Down { reason, hint, .. } => ("down", Some(reason), hint.as_deref()),
        StoreState::NeedsInit { reason, hint, .. } => ("needs_init", Some(reason), hint.as_deref()),
    }
}

/// For lists of `Paused`.
fn paused(py: Python<'_>, found: &[Paused]) -> PyResult<Py<PyAny>> {
    list(py, found, |one| {
        (&*one.table, one.reason.as_str(), one.hint.as_deref(), store_word(one.store))
            .into_pyobject(py)
    })
}

/// For `Verification`: whether both are equal, and a list of `TableDifference`.
pub fn verification(py: Python<'_>, found: &Verification) -> PyResult<Py<PyAny>> {
    let tables = list(py, &found.tables, |table| {
        (
            &*table.table,
            table.rows_postgres,
            table.rows_sqlite,
            table.different,
            table.only_postgres,
            table.only_sqlite,
            table.quarantined,
            list(py, &table.keys, |found| key(py, found))?,
            table.ahead_postgres,
            table.ahead_sqlite,
        )
            .into_pyobject(py)
    })?;
    let (until, paused) = (found.ahead_until_ms.and_then(moment), paused(py, &found.paused)?);
    (found.equal, tables, found.horizon_ahead, until, paused).into_py_any(py)
}

/// For a list of `Conflict`.
pub fn conflicts(py: Python<'_>, found: &[Conflict]) -> PyResult<Py<PyAny>> {
    list(py, found, |entry| {
        (
            &*entry.table,
            key(py, &entry.key)?,
            &*entry.column,
            entry.winning.as_deref(),
            entry.losing.as_deref(),
            entry.winner_ms.and_then(moment),
            entry.loser_ms.and_then(moment),
            moment(entry.noted_ms),
            entry.reviewed,
        )
            .into_pyobject(py)
    })
}

/// For a list of `QuarantinedRow`.
pub fn quarantine(py: Python<'_>, found: &[QuarantinedRow]) -> PyResult<Py<PyAny>> {
    list(py, found, |row| {
        (
            &*row.table,
            row.key.as_ref().map(|found| key(py, found)).transpose()?,
            store_word(row.refused_by),
            row.code.as_str(),
            row.reason.as_str(),
            moment(row.since_ms),
        )
            .into_pyobject(py)
    })
}

/// One column as its value, several as a tuple.
fn key<'py>(py: Python<'py>, key: &Key) -> PyResult<Bound<'py, PyAny>> {
    let parts = key.values().map(|value| match value {
        Value::Int(number) => number.into_bound_py_any(py),
        Value::Text(text) => text.into_bound_py_any(py),
        _ => Ok(py.None().into_bound(py)),
    });
    let parts = parts.collect::<PyResult<Vec<_>>>()?;
    match parts.as_slice() {
        [one] => Ok(one.clone()),
        several => PyTuple::new(py, several).map(Bound::into_any),
    }
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

fn list<'py, T, P: PyTypeInfo>(
    py: Python<'py>,
    things: &[T],
    made: impl Fn(&T) -> PyResult<Bound<'py, P>>,
) -> PyResult<Py<PyAny>> {
    let list = PyList::empty(py);
    for thing in things {
        list.append(made(thing)?)?;
    }
    Ok(list.into_any().unbind())
}
