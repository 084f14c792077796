//! Where the time goes: the parts of opening, connecting and asking that are worth telling apart,
//! in the log at debug level. Names and durations, nothing else.

use std::time::Instant;

/// Does the work, and tells how long it took. Parts can lie within others, and beside them.
pub async fn timed<T>(phase: &'static str, work: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let done = Box::pin(work).await;
    tracing::debug!(took = ?begun.elapsed(), "{phase}");
    done
}
