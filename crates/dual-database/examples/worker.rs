//! A program that writes and says what was acknowledged: `worker URL FILE add:FIRST` adds users
//! from `user_id` FIRST on, one line `USER_ID ok` for each acknowledged one; `worker URL FILE
//! idle` only keeps both sides equal. It runs until it is stopped.

use std::io::Write;
use std::time::Duration;

use dual_database::DualDatabase;
use dual_database::users::UserPatch;

#[tokio::main]
async fn main() -> dual_database::Result<()> {
    let mut words = std::env::args().skip(1);
    let mut word = || words.next().unwrap_or_default();
    let (url, file, what) = (word(), word(), word());
    let db = DualDatabase::builder()
        .postgres_url(url)
        .sqlite_path(file)
        .poll_interval(Duration::from_millis(200))
        .open()
        .await?;
    let Some(first) = what.strip_prefix("add:").and_then(|number| number.parse::<i64>().ok())
    else {
        std::future::pending::<()>().await;
        return Ok(());
    };
    let mut out = std::io::stdout();
    for user_id in first.. {
        let user = UserPatch::new().set("user_id", user_id)?.set("first_name", "worker")?;
        if db.add_user(&user).await.is_ok() {
            // In one piece, so that a kill cannot leave half a line that looks whole.
            let _ = out.write_all(format!("{user_id} ok\n").as_bytes());
            let _ = out.flush();
        }
    }
    Ok(())
}
