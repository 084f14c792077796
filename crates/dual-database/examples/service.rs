//! A service that writes and reads users: `DATABASE_URL=… cargo run --example service`.

use std::time::Duration;

use dual_database::database::Written;
use dual_database::users::UserPatch;
use dual_database::{DualDatabase, Error};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let database = DualDatabase::builder()
        .postgres_url(std::env::var("DATABASE_URL").unwrap_or_default())
        .sqlite_path("users.db")
        .open()
        .await?;

    let user = UserPatch::new().set("user_id", 5_123_456_789_i64)?.set("first_name", "Anna")?;
    match database.upsert_user(&user).await? {
        Written::InBoth(user) => report(&format!("{} is in both", user.user_id)),
        Written::InOne { value, stored_in } => {
            report(&format!("{} is in {stored_in}; the other one gets it", value.user_id));
        }
    }

    let found = database.get_user(5_123_456_789).await?;
    report(&format!("{:?} says {}", found.value.map(|user| user.first_name), found.source));

    database.close(Duration::from_secs(5)).await;
    Ok(())
}

#[allow(clippy::print_stdout, reason = "this is a program")]
fn report(text: &str) {
    println!("{text}");
}
