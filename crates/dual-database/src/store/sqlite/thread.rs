use std::sync::mpsc;
use std::thread::JoinHandle;

use rusqlite::{Connection, InterruptHandle};
use tokio::sync::oneshot;

use crate::error::{Error, Kind, Result, Store};

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The thread that owns one SQLite connection: a connection serves one caller at a time, and
/// its work blocks, so it never runs on the threads of the async runtime.
///
/// Dropping it interrupts what is running, rolls back what is not committed and closes the
/// connection before it returns.
pub struct Owner {
    jobs: Option<mpsc::Sender<Job>>,
    interrupt: InterruptHandle,
    thread: Option<JoinHandle<()>>,
}

impl Owner {
    /// Starts the thread and opens the connection on it.
    ///
    /// # Errors
    /// What `open` answers, and [`Kind::Internal`] if the system gives no thread.
    pub fn start(open: impl FnOnce() -> Result<Connection> + Send + 'static) -> Result<Owner> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (opened, answer) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("dual-sqlite".into())
            .spawn(move || {
                let mut connection = match open() {
                    Ok(connection) => connection,
                    Err(error) => {
                        let _ = opened.send(Err(error));
                        return;
                    }
                };
                let _ = opened.send(Ok(connection.get_interrupt_handle()));
                for job in inbox {
                    job(&mut connection);
                }
            })
            .map_err(|cause| {
                Error::new(Kind::Internal, "start the SQLite thread", "no thread to be had")
                    .with_source(cause)
            })?;
        let interrupt = answer.recv().map_err(|_| gone("start the SQLite thread"))??;
        Ok(Owner { jobs: Some(jobs), interrupt, thread: Some(thread) })
    }

    /// Runs `work` on the thread, after what was asked for before. If the caller stops
    /// waiting, the work is still done.
    ///
    /// # Errors
    /// What `work` answers; [`Kind::Internal`] if it panicked.
    pub async fn call<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let _ = answer.send(work(connection));
        });
        self.jobs.as_ref().and_then(|jobs| jobs.send(job).ok()).ok_or_else(|| gone(operation))?;
        answered.await.map_err(|_| gone(operation))?
    }

    /// Stops the statement that is running now, from any thread; its caller gets
    /// [`Kind::Interrupted`].
    pub fn interrupt(&self) {
        self.interrupt.interrupt();
    }
}

impl std::fmt::Debug for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owner").finish_non_exhaustive()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        drop(self.jobs.take());
        self.interrupt.interrupt();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn gone(operation: &'static str) -> Error {
    Error::new(Kind::Internal, operation, format!("the {} thread is gone", Store::Sqlite))
}
