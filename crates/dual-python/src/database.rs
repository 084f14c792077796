//! What can be called on an open database. Every method prepares a [`Call`].

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dual_database::database::{Builder, Prefer, RepairPreference, WriteMode};
use dual_database::store::postgres::Environment;
use dual_database::users::User;
use dual_database::{DualDatabase, Result};
use futures_util::stream::{Stream, StreamExt as _};
use pyo3::prelude::*;
use pyo3::types::PyInt;
use tokio::sync::Semaphore;

use crate::call::Call;
use crate::home::{Home, Kept};
use crate::transaction::Transaction;
use crate::{answers, failure, values};

/// How many calls the library is given at the same time. More wait here, where no time is
/// counted yet, instead of there, where a call that has waited too long goes to the file.
const AT_ONCE: usize = 64;

/// How many users an iteration holds.
const PAGE: usize = 500;

/// An open database.
#[pyclass(frozen, module = "dual_database._native")]
pub struct Database {
    inner: Kept<DualDatabase>,
    turns: Arc<Semaphore>,
    is_open: Arc<AtomicBool>,
}

/// Prepares the opening of a database.
#[pyfunction]
#[pyo3(signature = (pg_url, sqlite_path, *, prefer, write_mode, timeout, busy_timeout, poll_interval, verify_interval, background, adopt, follow_schema, sqlite_extensions, pg_schema))]
#[expect(clippy::too_many_arguments, reason = "one keyword for each setting")]
pub fn open(
    py: Python<'_>,
    pg_url: String,
    sqlite_path: PathBuf,
    prefer: &str,
    write_mode: &str,
    timeout: f64,
    busy_timeout: f64,
    poll_interval: f64,
    verify_interval: Option<f64>,
    background: bool,
    adopt: bool,
    follow_schema: bool,
    sqlite_extensions: Vec<PathBuf>,
    pg_schema: String,
) -> PyResult<Call> {
    let prefer = match prefer {
        "postgres" => Prefer::Postgres,
        "local" => Prefer::Local,
        _ => return Err(unknown("prefer", "\"postgres\" or \"local\"")),
    };
    let mode = match write_mode {
        "both" => WriteMode::Both,
        "local_first" => WriteMode::LocalFirst,
        "require_both" => WriteMode::RequireBoth,
        _ => {
            let known = "\"both\", \"local_first\" or \"require_both\"";
            return Err(unknown("write_mode", known));
        }
    };
    let verify = verify_interval.map(|every| seconds("verify_interval", every)).transpose()?;
    let builder = Builder::default()
        .postgres_url(pg_url)
        .postgres_schema(pg_schema)
        .environment(Environment::of_process())
        .sqlite_path(sqlite_path)
        .prefer(prefer)
        .write_mode(mode)
        .timeout(seconds("timeout", timeout)?)
        .busy_timeout(seconds("busy_timeout", busy_timeout)?)
        .poll_interval(seconds("poll_interval", poll_interval)?)
        .verify_interval(verify)
        .background(background)
        .adopt(adopt)
        .follow_schema(follow_schema);
    let builder = sqlite_extensions.into_iter().fold(builder, Builder::sqlite_extension);
    let home = Home::of_process(py)?;
    Ok(Call::new(home, builder.open(), move |py, opened| {
        home.opened();
        let database = Database {
            inner: Kept::new(home, opened),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            is_open: Arc::new(AtomicBool::new(true)),
        };
        Ok(Py::new(py, database)?.into_any())
    }))
}

#[pymethods]
impl Database {
    fn add_user(&self, user_data: &Bound<'_, PyAny>) -> PyResult<Call> {
        let patch = values::patch(user_data)?;
        let work = async move |db: DualDatabase| answers::with_user(db.add_user(&patch).await);
        self.call(work, |py, done| answers::written(py, &done))
    }

    fn upsert_user(&self, user_data: &Bound<'_, PyAny>) -> PyResult<Call> {
        let patch = values::patch(user_data)?;
        let work = async move |db: DualDatabase| answers::with_user(db.upsert_user(&patch).await);
        self.call(work, |py, done| answers::written(py, &done))
    }

    fn update_user(
        &self,
        user_id: &Bound<'_, PyAny>,
        update_data: &Bound<'_, PyAny>,
    ) -> PyResult<Call> {
        let (key, patch) = (values::key(user_id)?, values::patch(update_data)?);
        let work =
            async move |db: DualDatabase| answers::with_user(db.update_user(key, &patch).await);
        self.call(work, |py, done| answers::written(py, &done))
    }

    fn delete_user(&self, user_id: &Bound<'_, PyAny>) -> PyResult<Call> {
        let key = values::key(user_id)?;
        let work = async move |db: DualDatabase| db.delete_user(key).await;
        self.call(work, |py, done| answers::written(py, &answers::without_user(done)))
    }

    fn get_user(&self, user_id: &Bound<'_, PyAny>) -> PyResult<Call> {
        let key = values::key(user_id)?;
        let work = async move |db: DualDatabase| db.get_user(key).await;
        self.call(work, |py, found| answers::user(py, found.value.as_ref()))
    }

    fn find_user(&self, user_id: &Bound<'_, PyAny>) -> PyResult<Call> {
        let key = values::key(user_id)?;
        let work = async move |db: DualDatabase| db.get_user(key).await;
        self.call(work, |py, found| answers::found(py, &found))
    }

    fn get_all_users(
        &self,
        limit: Option<&Bound<'_, PyAny>>,
        equal: Option<&Bound<'_, PyAny>>,
        contains: Option<&Bound<'_, PyAny>>,
        since: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Call> {
        let filter = values::filter(equal, contains, since)?;
        let limit = limit.map(|limit| whole(limit, "limit")).transpose()?;
        let work = async move |db: DualDatabase| db.find_users(&filter, limit).await;
        self.call(work, |py, found| answers::user_list(py, &found.value))
    }

    fn count_users(
        &self,
        equal: Option<&Bound<'_, PyAny>>,
        contains: Option<&Bound<'_, PyAny>>,
        since: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Call> {
        let filter = values::filter(equal, contains, since)?;
        let work = async move |db: DualDatabase| db.count_users(&filter).await;
        self.call(work, |py, found| Ok(found.value.into_pyobject(py)?.into_any().unbind()))
    }

    fn users(
        &self,
        equal: Option<&Bound<'_, PyAny>>,
        contains: Option<&Bound<'_, PyAny>>,
        since: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Users> {
        let filter = values::filter(equal, contains, since)?;
        let stream: UserStream = Box::pin(self.opened()?.users(&filter).fuse());
        let stream = Kept::new(self.inner.home, Arc::new(tokio::sync::Mutex::new(stream)));
        Ok(Users { stream, is_open: Arc::clone(&self.is_open) })
    }

    fn begin(&self) -> PyResult<Transaction> {
        Ok(Transaction::begin(self.inner.home, self.opened()?.clone()))
    }

    fn status(&self) -> PyResult<Call> {
        let work = async move |db: DualDatabase| db.status().await;
        self.call(work, |py, found| answers::status(py, &found))
    }

    fn verify(&self) -> PyResult<Call> {
        let work = async move |db: DualDatabase| db.verify().await;
        self.call(work, |py, found| answers::verification(py, &found))
    }

    fn repair(&self, prefer: &str) -> PyResult<Call> {
        let prefer = match prefer {
            "newest" => RepairPreference::Newest,
            "postgres" => RepairPreference::Postgres,
            "sqlite" => RepairPreference::Sqlite,
            _ => return Err(unknown("prefer", "\"newest\", \"postgres\" or \"sqlite\"")),
        };
        let work = async move |db: DualDatabase| db.repair(prefer).await;
        self.call(work, |py, found| answers::verification(py, &found))
    }

    fn repair_stamps(&self) -> PyResult<Call> {
        let work = async move |db: DualDatabase| db.repair_stamps().await;
        self.call(work, |py, found| answers::verification(py, &found))
    }

    fn sync_now(&self, timeout: f64) -> PyResult<Call> {
        let within = seconds("timeout", timeout)?;
        let work = async move |db: DualDatabase| db.sync_now(within).await;
        self.call(work, |py, done| answers::exchange(py, &done))
    }

    fn conflicts(&self, limit: &Bound<'_, PyAny>) -> PyResult<Call> {
        let limit = usize::try_from(whole(limit, "limit")?).unwrap_or(usize::MAX);
        let work = async move |db: DualDatabase| db.conflicts(limit).await;
        self.call(work, |py, found| answers::conflicts(py, &found))
    }

    fn review_conflicts(&self) -> PyResult<Call> {
        let work = async move |db: DualDatabase| db.review_conflicts().await;
        self.call(work, |py, count| Ok(count.into_pyobject(py)?.into_any().unbind()))
    }

    fn review_damage(&self) -> PyResult<Call> {
        let work = async move |db: DualDatabase| db.review_damage().await;
        self.call(work, |py, count| Ok(count.into_pyobject(py)?.into_any().unbind()))
    }

    fn quarantine(&self) -> PyResult<Call> {
        let work = async move |db: DualDatabase| db.quarantine().await;
        self.call(work, |py, found| answers::quarantine(py, &found))
    }

    /// Closes it; answers whether there was something to be closed.
    fn close(&self, timeout: f64) -> PyResult<Call> {
        let within = seconds("timeout", timeout)?;
        let home = self.inner.home;
        home.check()?;
        let was_open = self.is_open.swap(false, Ordering::AcqRel);
        let db = self.inner.get()?.filter(|_| was_open).cloned();
        let work = async move {
            let Some(db) = db else { return Ok(false) };
            // Spawned, so that it comes to its end also if nobody waits for it any more.
            let _ = home.runtime.spawn(db.close(within)).await;
            Ok(true)
        };
        Ok(Call::new(home, work, move |py, closed| {
            if closed {
                home.closed();
            }
            Ok(closed.into_pyobject(py)?.to_owned().into_any().unbind())
        }))
    }
}

impl Database {
    fn opened(&self) -> PyResult<&DualDatabase> {
        let db = self.inner.get()?;
        match db {
            Some(db) if self.is_open.load(Ordering::Acquire) => Ok(db),
            _ => Err(failure::closed("the database is closed")),
        }
    }

    fn call<T, W, A>(
        &self,
        work: impl FnOnce(DualDatabase) -> W + Send + 'static,
        answer: A,
    ) -> PyResult<Call>
    where
        T: Send + 'static,
        W: Future<Output = Result<T>> + Send + 'static,
        A: FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    {
        let (db, turns) = (self.opened()?.clone(), Arc::clone(&self.turns));
        let work = async move {
            // Never closed: without a permit it would be as good.
            let _turn = turns.acquire().await;
            work(db).await
        };
        Ok(Call::new(self.inner.home, work, answer))
    }
}

type UserStream = Pin<Box<dyn Stream<Item = Result<User>> + Send>>;

/// An iteration over users, a page at a time.
#[pyclass(frozen, module = "dual_database._native")]
pub struct Users {
    stream: Kept<Arc<tokio::sync::Mutex<UserStream>>>,
    /// Whether its database is.
    is_open: Arc<AtomicBool>,
}

#[pymethods]
impl Users {
    /// Prepares the next page: a list, empty at the end.
    fn next_page(&self) -> PyResult<Call> {
        let stream = self.stream.get()?.cloned();
        let (Some(stream), true) = (stream, self.is_open.load(Ordering::Acquire)) else {
            return Err(failure::closed("the database is closed"));
        };
        let work = async move {
            let mut stream = stream.lock().await;
            let mut page = Vec::new();
            while page.len() < PAGE
                && let Some(user) = stream.next().await
            {
                page.push(user?);
            }
            Ok(page)
        };
        Ok(Call::new(self.stream.home, work, |py, page: Vec<User>| answers::user_list(py, &page)))
    }
}

fn seconds(name: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|_| {
        let message = format!("{name} is no number of seconds that can be waited");
        failure::configuration(&message, "give a number, such as 5")
    })
}

fn unknown(name: &str, known: &str) -> PyErr {
    failure::configuration(&format!("{name} is unknown"), &format!("give {known}"))
}

fn whole(number: &Bound<'_, PyAny>, name: &str) -> PyResult<u64> {
    if !number.is_instance_of::<PyInt>() {
        return Err(failure::wrong_type(&format!("{name}: a whole number is wanted"), None));
    }
    number.extract().map_err(|_| {
        let message = format!("{name}: a whole number from 0 on, of 64 bits, is wanted");
        failure::invalid(&message, None)
    })
}
