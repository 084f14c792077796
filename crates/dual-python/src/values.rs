//! Values of Python as the library's, and users as dictionaries.
//!
//! `dual_database._values` has made dictionaries, numbers and moments of whatever says that it is
//! one, so that nothing is met here that is code of Python.

use std::sync::LazyLock;

use dual_database::schema::{LogicalType, Table, Unfit, users};
use dual_database::users::{User, UserFilter, UserPatch};
use dual_database::value::Value;
use dual_database::{Error, Result};
use jiff::civil::Date;
use pyo3::exceptions::PyOverflowError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDate, PyDateTime, PyDict, PyFloat, PyInt, PyString};

use crate::failure;

static USERS: LazyLock<Table> = LazyLock::new(users);
const KEY: &str = "user_id";

/// The columns that are to be set.
///
/// # Errors
/// `InvalidDataError`, `InvalidTypeError`.
pub fn patch(columns: &Bound<'_, PyAny>) -> PyResult<UserPatch> {
    let mut patch = UserPatch::new();
    for (name, value) in pairs(columns, "the user")? {
        let given = value_of(&name, &value)?;
        patch = set(&name, &given, || patch.set(&name, given.clone()))?;
    }
    Ok(patch)
}

/// The conditions of a list.
///
/// # Errors
/// As for [`patch`].
pub fn filter(
    equal: Option<&Bound<'_, PyAny>>,
    contains: Option<&Bound<'_, PyAny>>,
    since: Option<&Bound<'_, PyAny>>,
) -> PyResult<UserFilter> {
    let mut filter = UserFilter::new();
    for (name, value) in given(equal, "where")? {
        let given = value_of(&name, &value)?;
        filter = set(&name, &given, || filter.equals(&name, given.clone()))?;
    }
    for (name, value) in given(contains, "contains")? {
        let given = value_of(&name, &value)?;
        let Value::Text(text) = &given else {
            let message = format!("users.{}: text is wanted to look for", shown(&name));
            return Err(failure::wrong_type(&message, None));
        };
        filter = set(&name, &given, || filter.contains(&name, text))?;
    }
    for (name, value) in given(since, "since")? {
        let given = value_of(&name, &value)?;
        filter = set(&name, &given, || filter.since(&name, given.clone()))?;
    }
    Ok(filter)
}

/// The key of a user.
///
/// # Errors
/// `InvalidTypeError` for anything but a whole number, `InvalidDataError` beyond 64 bits.
pub fn key(value: &Bound<'_, PyAny>) -> PyResult<i64> {
    match value_of(KEY, value)? {
        Value::Int(key) => Ok(key),
        _ => Err(failure::wrong_type(
            &format!("users.{KEY}: a whole number is wanted, not {}", type_name(value)),
            None,
        )),
    }
}

/// A user as a dictionary of the 16 columns; timestamps without a zone, in UTC.
///
/// # Errors
/// Out of memory.
pub fn dictionary<'py>(py: Python<'py>, user: &User) -> PyResult<Bound<'py, PyDict>> {
    let made = PyDict::new(py);
    macro_rules! items {
        ($($name:ident)*) => { $(made.set_item(intern!(py, stringify!($name)), &user.$name)?;)* };
    }
    macro_rules! moments {
        ($($name:ident)*) => { $(
            made.set_item(intern!(py, stringify!($name)), user.$name)?;
        )* };
    }
    items!(id user_id username first_name status phone_number real_name birth_date);
    moments!(register_date last_activity redeem_date);
    items!(source referrer_id brought_by_staff_id profile_completed ai_concept);
    Ok(made)
}

type Pairs<'py> = Vec<(String, Bound<'py, PyAny>)>;

fn given<'py>(mapping: Option<&Bound<'py, PyAny>>, what: &str) -> PyResult<Pairs<'py>> {
    mapping.map_or(Ok(Vec::new()), |mapping| pairs(mapping, what))
}

/// The items of a dictionary with text keys, as they are now.
fn pairs<'py>(columns: &Bound<'py, PyAny>, what: &str) -> PyResult<Pairs<'py>> {
    let Ok(columns) = columns.cast_exact::<PyDict>() else {
        let message = format!("{what}: a dictionary is wanted, not {}", type_name(columns));
        return Err(failure::wrong_type(&message, None));
    };
    let mut pairs = Vec::with_capacity(columns.len());
    for (name, value) in columns {
        let Ok(name) = name.cast::<PyString>() else {
            let message = format!("{what}: names of columns are text, not {}", type_name(&name));
            return Err(failure::wrong_type(&message, None));
        };
        let Ok(name) = name.to_cow() else {
            return Err(failure::invalid(&format!("{what}: a name is no valid text"), None));
        };
        pairs.push((name.into_owned(), value));
    }
    Ok(pairs)
}

/// What the library says of a value for that column.
fn set<T>(name: &str, given: &Value, set: impl FnOnce() -> Result<T>) -> PyResult<T> {
    set().map_err(|error| refused(name, given, &error))
}

fn refused(name: &str, given: &Value, error: &Error) -> PyErr {
    let fits = USERS.column(name).is_none_or(|column| {
        !matches!(column.kind.accept(given.clone()), Err(Unfit::OtherType { .. }))
    });
    if !fits && error.is_invalid_data() {
        return failure::wrong_type(&error.chain(), error.hint());
    }
    failure::of(error)
}

/// The value for a column of that name. Which values the column takes is the library's to say.
fn value_of(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Value> {
    let py = value.py();
    if value.is_none() {
        return Ok(Value::Null);
    }
    if let Ok(flag) = value.cast::<PyBool>() {
        return Ok(Value::Bool(flag.is_true()));
    }
    if let Ok(text) = value.cast::<PyString>() {
        return match text.to_cow() {
            Ok(text) => Ok(Value::Text(text.into_owned())),
            Err(_) => Err(of(name, "it contains a lone surrogate, which is no valid text")),
        };
    }
    if value.is_instance_of::<PyInt>() {
        return match value.extract::<i64>() {
            Ok(number) => Ok(Value::Int(number)),
            Err(error) if error.is_instance_of::<PyOverflowError>(py) => {
                Err(of(name, "a whole number of 64 bits is wanted, this one is out of range"))
            }
            Err(error) => Err(error),
        };
    }
    if let Ok(moment) = value.cast_exact::<PyDateTime>() {
        return Ok(Value::Timestamp(moment.extract()?));
    }
    if value.is_exact_instance_of::<PyDate>() && kind_of(name) == Some(LogicalType::Timestamp) {
        return Ok(Value::Text(value.extract::<Date>()?.to_string()));
    }
    let hint = if value.is_instance_of::<PyBytes>() { Some("decode it first") } else { None };
    let wanted = match kind_of(name) {
        Some(LogicalType::Bool) => "True or False",
        Some(LogicalType::Int | LogicalType::BigInt) => "a whole number",
        Some(LogicalType::Timestamp) => "a datetime, or text",
        _ => "text",
    };
    let given = match value.cast::<PyFloat>() {
        Ok(number) if !number.value().is_finite() => "NaN or an infinity".to_owned(),
        _ => type_name(value),
    };
    if kind_of(name).is_none() {
        // The library names the nearest column.
        return Ok(Value::Null);
    }
    let message = format!("users.{}: {wanted} is wanted, not {given}", shown(name));
    Err(failure::wrong_type(&message, hint))
}

fn kind_of(name: &str) -> Option<LogicalType> {
    USERS.column(name).map(|column| column.kind.clone())
}

fn of(name: &str, why: &str) -> PyErr {
    failure::invalid(&format!("users.{}: {why}", shown(name)), None)
}

/// A name as it may be shown: a caller's may be anything.
fn shown(name: &str) -> String {
    name.chars().take(40).filter(|letter| !letter.is_control()).collect()
}

fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "that".into(), |name| name.to_string())
}
