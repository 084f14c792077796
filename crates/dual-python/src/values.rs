//! Values of Python as the library's, and users as dictionaries.

use std::sync::LazyLock;

use dual_database::database::{User, UserFilter, UserPatch};
use dual_database::schema::{LogicalType, Table, users};
use dual_database::value::Value;
use dual_database::{Error, Result};
use jiff::civil::DateTime;
use pyo3::exceptions::PyOverflowError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyBytes, PyDate, PyDateTime, PyDict, PyFloat, PyInt, PyMapping, PyString, PyTzInfo,
};

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
        patch = set(&name, &given, value.py(), || patch.set(&name, given.clone()))?;
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
        filter = set(&name, &given, value.py(), || filter.equals(&name, given.clone()))?;
    }
    for (name, value) in given(contains, "contains")? {
        let given = value_of(&name, &value)?;
        let Value::Text(text) = &given else {
            let message = format!("users.{}: text is wanted to look for", shown(&name));
            return Err(failure::wrong_type(value.py(), &message, None));
        };
        filter = set(&name, &given, value.py(), || filter.contains(&name, text))?;
    }
    for (name, value) in given(since, "since")? {
        let given = value_of(&name, &value)?;
        filter = set(&name, &given, value.py(), || filter.since(&name, given.clone()))?;
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
            value.py(),
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

/// The items of a mapping with text keys, as they are now.
fn pairs<'py>(mapping: &Bound<'py, PyAny>, what: &str) -> PyResult<Pairs<'py>> {
    let py = mapping.py();
    let Ok(found) = mapping.cast::<PyMapping>() else {
        let message = format!("{what}: a dictionary is wanted, not {}", type_name(mapping));
        return Err(failure::wrong_type(py, &message, None));
    };
    let mut pairs = Vec::new();
    for item in found.items()?.iter() {
        let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item.extract()?;
        let Ok(name) = name.cast::<PyString>() else {
            let message = format!("{what}: names of columns are text, not {}", type_name(&name));
            return Err(failure::wrong_type(py, &message, None));
        };
        let Ok(name) = name.to_cow() else {
            return Err(failure::invalid(py, &format!("{what}: a name is no valid text"), None));
        };
        pairs.push((name.into_owned(), value));
    }
    Ok(pairs)
}

/// What the library says of a value for that column.
fn set<T>(
    name: &str,
    given: &Value,
    py: Python<'_>,
    set: impl FnOnce() -> Result<T>,
) -> PyResult<T> {
    set().map_err(|error| refused(py, name, given, &error))
}

fn refused(py: Python<'_>, name: &str, given: &Value, error: &Error) -> PyErr {
    let fits = USERS.column(name).is_none_or(|column| {
        matches!(
            (column.kind, given),
            (LogicalType::Bool, Value::Bool(_))
                | (LogicalType::Int | LogicalType::BigInt, Value::Int(_))
                | (LogicalType::Text, Value::Text(_))
                | (LogicalType::Timestamp, Value::Text(_) | Value::Timestamp(_))
                | (_, Value::Null)
        )
    });
    if !fits && error.is_invalid_data() {
        return failure::wrong_type(py, &error.chain(), error.hint());
    }
    failure::raised(py, error)
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
            Err(_) => Err(of(py, name, "it contains a lone surrogate, which is no valid text")),
        };
    }
    if value.is_instance_of::<PyInt>() || is_integer(value) {
        return match value.extract::<i64>() {
            Ok(number) => Ok(Value::Int(number)),
            Err(error) if error.is_instance_of::<PyOverflowError>(py) => {
                Err(of(py, name, "a whole number of 64 bits is wanted, this one is out of range"))
            }
            Err(error) => Err(error),
        };
    }
    if let Ok(moment) = value.cast::<PyDateTime>() {
        return timestamp(name, moment);
    }
    if value.is_instance_of::<PyDate>() && kind_of(name) == Some(LogicalType::Timestamp) {
        return Ok(Value::Text(value.call_method0("isoformat")?.extract()?));
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
    Err(failure::wrong_type(py, &message, hint))
}

/// Whether it says that it is a whole number, as numpy's are.
fn is_integer(value: &Bound<'_, PyAny>) -> bool {
    value.hasattr("__index__").unwrap_or(false)
}

fn timestamp(name: &str, moment: &Bound<'_, PyDateTime>) -> PyResult<Value> {
    let py = moment.py();
    let beyond = || of(py, name, "in UTC its year is not one of 1 to 9999");
    let is_aware = !moment.call_method0(intern!(py, "utcoffset"))?.is_none();
    let mut naive = moment.as_any().clone();
    if is_aware {
        let utc = PyTzInfo::utc(py)?;
        naive = match naive.call_method1(intern!(py, "astimezone"), (utc,)) {
            Ok(converted) => converted,
            Err(error) if error.is_instance_of::<PyOverflowError>(py) => return Err(beyond()),
            Err(error) => return Err(error),
        };
    }
    let part = |part: &str| naive.getattr(part).and_then(|part| part.extract::<i32>());
    let parts = || -> PyResult<[i32; 7]> {
        Ok([
            part("year")?,
            part("month")?,
            part("day")?,
            part("hour")?,
            part("minute")?,
            part("second")?,
            part("microsecond")?,
        ])
    };
    // pandas.NaT calls itself a datetime, and has no parts.
    let parts = parts().map_err(|_| of(py, name, "it is no moment"))?;
    let [year, month, day, hour, minute, second, micro] = parts;
    let small = |number: i32| i8::try_from(number).unwrap_or(i8::MAX);
    DateTime::new(
        i16::try_from(year).unwrap_or(i16::MAX),
        small(month),
        small(day),
        small(hour),
        small(minute),
        small(second),
        micro.saturating_mul(1_000),
    )
    .map(Value::Timestamp)
    .map_err(|_| beyond())
}

fn kind_of(name: &str) -> Option<LogicalType> {
    USERS.column(name).map(|column| column.kind)
}

fn of(py: Python<'_>, name: &str, why: &str) -> PyErr {
    failure::invalid(py, &format!("users.{}: {why}", shown(name)), None)
}

/// A name as it may be shown: a caller's may be anything.
fn shown(name: &str) -> String {
    name.chars().take(40).filter(|letter| !letter.is_control()).collect()
}

fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "that".into(), |name| name.to_string())
}
