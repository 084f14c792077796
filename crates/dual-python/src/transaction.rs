//! A transaction between two calls of Python.
//!
//! The library runs a transaction as a function, and runs it again if PostgreSQL goes away while
//! it is read, or if somebody else was faster. A `with` block cannot be run again. So a task
//! plays the function: it does the steps that it is sent, remembers what they showed, and if it is
//! run again shows itself the same steps. If they show the same the block need not know; else it
//! ends in a conflict, and nothing was done.

use std::sync::{Arc, Mutex, PoisonError};

use dual_database::database::Written;
use dual_database::users::{User, UserPatch};
use dual_database::{DualDatabase, Error, Kind, Result, database};
use pyo3::prelude::*;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::call::Call;
use crate::home::{Home, Kept};
use crate::{answers, failure, values};

const OPERATION: &str = "run a transaction";

#[derive(Clone, Debug)]
enum Step {
    Get(i64),
    Add(UserPatch),
    Update(i64, UserPatch),
    Delete(i64),
}

/// What a step has shown.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    User(Option<Box<User>>),
    Done,
    Refused(Kind),
}

type Answer = oneshot::Sender<Result<Seen>>;

enum Message {
    Step(Step, Answer),
    Commit,
}

/// What the task knows from one run to the next.
struct Script {
    played: Vec<(Step, Seen)>,
    inbox: mpsc::UnboundedReceiver<Message>,
    /// A step that no answer could be found for: the next run tries it first.
    open: Option<(Step, Answer)>,
    commits: bool,
}

async fn play(on: database::Transaction, script: Arc<tokio::sync::Mutex<Script>>) -> Result<()> {
    let mut script = script.lock().await;
    for (step, seen) in &script.played {
        let again = match apply(&on, step).await {
            Err(error) if is_about_the_store(&error) => return Err(error),
            Err(error) => Seen::Refused(error.kind()),
            Ok(seen) => seen,
        };
        if again != *seen {
            let message = "what it has read was changed by somebody else; nothing was done";
            return Err(Error::new(Kind::Conflict, OPERATION, message)
                .with_hint("run it again, or let run_in_transaction do so"));
        }
    }
    while !script.commits {
        let (step, answer) = match script.open.take() {
            Some(open) => open,
            None => match script.inbox.recv().await {
                Some(Message::Step(step, answer)) => (step, answer),
                Some(Message::Commit) => {
                    script.commits = true;
                    break;
                }
                None => return Err(Error::new(Kind::Interrupted, OPERATION, "rolled back")),
            },
        };
        match apply(&on, &step).await {
            Err(error) if is_about_the_store(&error) => {
                script.open = Some((step, answer));
                return Err(error);
            }
            Err(error) => {
                script.played.push((step, Seen::Refused(error.kind())));
                let _ = answer.send(Err(error));
            }
            Ok(seen) => {
                script.played.push((step, seen.clone()));
                let _ = answer.send(Ok(seen));
            }
        }
    }
    Ok(())
}

async fn apply(on: &database::Transaction, step: &Step) -> Result<Seen> {
    match step {
        Step::Get(key) => Ok(Seen::User(on.get_user(*key).await?.map(Box::new))),
        Step::Add(user) => on.add_user(user).map(|()| Seen::Done),
        Step::Update(key, changes) => {
            Ok(Seen::User(Some(Box::new(on.update_user(*key, changes).await?))))
        }
        Step::Delete(key) => on.delete_user(*key).await.map(|()| Seen::Done),
    }
}

/// Whether a store failed, rather than the step.
fn is_about_the_store(error: &Error) -> bool {
    !matches!(error.kind(), Kind::InvalidData | Kind::AlreadyExists | Kind::NotFound)
}

/// A transaction that is being put together.
#[pyclass(frozen, module = "dual_database._native")]
pub struct Transaction {
    steps: Mutex<Kept<Ends>>,
}

struct Ends {
    steps: mpsc::UnboundedSender<Message>,
    /// Its end: `Written` if it was committed.
    task: JoinHandle<Result<Written<()>>>,
}

impl Transaction {
    /// Begins one.
    pub fn begin(home: &'static Home, db: DualDatabase) -> Transaction {
        let (steps, inbox) = mpsc::unbounded_channel();
        let script = Script { played: Vec::new(), inbox, open: None, commits: false };
        let script = Arc::new(tokio::sync::Mutex::new(script));
        let task = home.runtime.spawn(async move {
            let ended = db.transaction(|on| play(on, Arc::clone(&script))).await;
            match (ended, script.lock().await.open.take()) {
                (Err(error), Some((_, answer))) => {
                    let _ = answer.send(Err(error));
                    Err(has_ended())
                }
                (ended, _) => ended,
            }
        });
        Transaction { steps: Mutex::new(Kept::new(home, Ends { steps, task })) }
    }

    fn step<A>(&self, step: Step, answer: A) -> PyResult<Call>
    where
        A: FnOnce(Python<'_>, Seen) -> PyResult<Py<PyAny>> + Send + 'static,
    {
        let kept = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(ends) = kept.get()? else {
            return Err(failure::closed("the transaction has ended"));
        };
        let (sender, receiver) = oneshot::channel();
        let sent = ends.steps.send(Message::Step(step, sender));
        let work = async move {
            // A sender that is gone without an answer: the task has ended before.
            sent.map_err(|_| has_ended())?;
            receiver.await.unwrap_or_else(|_| Err(has_ended()))
        };
        Ok(Call::new(kept.home, work, answer))
    }
}

fn has_ended() -> Error {
    Error::new(Kind::Interrupted, OPERATION, "the transaction has ended")
}

#[pymethods]
impl Transaction {
    fn get_user(&self, user_id: &Bound<'_, PyAny>) -> PyResult<Call> {
        self.step(Step::Get(values::key(user_id)?), user)
    }

    fn add_user(&self, user_data: &Bound<'_, PyAny>) -> PyResult<Call> {
        self.step(Step::Add(values::patch(user_data)?), |py, _| Ok(py.None()))
    }

    fn update_user(
        &self,
        user_id: &Bound<'_, PyAny>,
        update_data: &Bound<'_, PyAny>,
    ) -> PyResult<Call> {
        let step = Step::Update(values::key(user_id)?, values::patch(update_data)?);
        self.step(step, user)
    }

    fn delete_user(&self, user_id: &Bound<'_, PyAny>) -> PyResult<Call> {
        self.step(Step::Delete(values::key(user_id)?), |py, _| Ok(py.None()))
    }

    /// Commits it; once begun it goes on, also if nobody waits for it.
    fn commit(&self) -> PyResult<Call> {
        let mut kept = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(ends) = kept.take()? else {
            return Err(failure::closed("the transaction has ended"));
        };
        let sent = ends.steps.send(Message::Commit);
        let work = async move {
            let ended = ends.task.await.unwrap_or_else(|_| {
                Err(Error::new(Kind::Internal, OPERATION, "a defect of this library ended it"))
            });
            drop((sent, ends.steps));
            ended
        };
        Ok(Call::new(kept.home, work, |py, done| {
            answers::written(py, &answers::without_user(done))
        }))
    }

    /// Ends it with nothing done.
    fn rollback(&self) -> PyResult<()> {
        let mut kept = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        drop(kept.take()?);
        Ok(())
    }
}

fn user(py: Python<'_>, seen: Seen) -> PyResult<Py<PyAny>> {
    match seen {
        Seen::User(user) => answers::user(py, user.as_deref()),
        Seen::Done | Seen::Refused(_) => Ok(py.None()),
    }
}
