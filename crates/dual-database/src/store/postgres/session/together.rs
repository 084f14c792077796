//! Statements that are sent at once, to save round trips.
//!
//! The driver sends at the first poll, and what is joined is polled in its order. Once one has
//! failed, the server refuses the rest of the transaction (SQLSTATE 25P02). Answers can be seen in
//! another order than they came in, so all of them are waited for, and the error that counts is
//! that of the first which was *sent*: any other would hide why.

use futures_util::FutureExt;
use futures_util::future::{join, join_all};

use crate::Result;

/// Sends `first`, then `second`.
///
/// # Errors
/// The first one's, if both failed.
pub(in crate::store::postgres) async fn both<A, B>(
    first: impl Future<Output = Result<A>>,
    second: impl Future<Output = Result<B>>,
) -> Result<(A, B)> {
    let (first, second) = join(first, second).await;
    Ok((first?, second?))
}

/// Sends all of them in their order.
///
/// # Errors
/// That of the first which failed.
pub(in crate::store::postgres) fn every<T, F: Future<Output = Result<T>>>(
    each: impl IntoIterator<Item = F>,
) -> impl Future<Output = Result<Vec<T>>> {
    join_all(each).map(|answers| answers.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;
    use crate::{Error, Kind};

    /// Answers at the poll of that number.
    async fn answers(mut polls: u32, answer: Result<()>) -> Result<()> {
        std::future::poll_fn(|context| {
            polls = polls.saturating_sub(1);
            if polls == 0 {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        answer
    }

    fn fails(message: &str) -> Result<()> {
        Err(Error::new(Kind::Internal, "test", message))
    }

    #[tokio::test]
    async fn the_first_that_was_sent_says_why_even_if_it_is_heard_last() {
        let error = both(answers(3, fails("why")), answers(1, fails("aborted"))).await.unwrap_err();
        assert!(error.to_string().contains("why"), "{error}");
        let error = every([answers(1, Ok(())), answers(4, fails("why")), answers(1, fails("no"))]);
        let error = error.await.unwrap_err();
        assert!(error.to_string().contains("why"), "{error}");
    }
}
