//! PostgreSQL and SQLite kept as one logical database.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use dual_database::database::Written;
//! use dual_database::users::{UserFilter, UserPatch};
//! use dual_database::{DualDatabase, Store};
//! use futures_util::StreamExt;
//!
//! # async fn example() -> dual_database::Result<()> {
//! let db = DualDatabase::builder()
//!     .postgres_url("postgresql://bot:secret@db.example.org/bot?sslmode=require")
//!     .sqlite_path("users.db")
//!     .open()
//!     .await?;
//!
//! // The answer says where the write is; with one store away it is in the other one, and gets
//! // there by itself.
//! let anna = UserPatch::new().user_id(5_123_456_789).first_name("Anna").phone_number("+7999");
//! match db.add_user(&anna).await? {
//!     Written::InBoth(user) => println!("in both, number {:?}", user.id),
//!     Written::InOne { stored_in, .. } => println!("in {stored_in}, the other one gets it"),
//! }
//!
//! // A reader is told who answered, and how old the answer may be.
//! let found = db.get_user(5_123_456_789).await?;
//! if found.source == Store::Sqlite {
//!     println!("PostgreSQL is away; the file has heard from it {:?} ago", found.age);
//! }
//!
//! let redeemed = UserPatch::new().status("redeemed");
//! if let Err(error) = db.update_user(7, &redeemed).await {
//!     assert!(error.is_not_found());
//! }
//!
//! // Several rows, all of it on both sides or nothing.
//! db.transaction(async |tx| {
//!     let bonus = tx.get_user(5_123_456_789).await?.and_then(|user| user.referrer_id);
//!     if let Some(referrer) = bonus {
//!         tx.update_user(referrer, &UserPatch::new().source("bonus")).await?;
//!     }
//!     Ok(())
//! })
//! .await?;
//!
//! // As many as there may be, in constant memory, the newest first.
//! let mut users = std::pin::pin!(db.users(&UserFilter::new().contains("first_name", "нна")?));
//! while let Some(user) = users.next().await {
//!     println!("{}", user?.user_id);
//! }
//! db.close(Duration::from_secs(5)).await;
//! # Ok(())
//! # }
//! ```
//!
//! Any table that is kept has the same calls by its name, with rows as records or as structs:
//!
//! ```no_run
//! use dual_database::database::{Direction, Filter, Patch};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize, Serialize)]
//! struct Booking {
//!     id: Option<i64>,
//!     at: jiff::civil::DateTime,
//!     guests: i32,
//!     note: Option<String>,
//! }
//!
//! # async fn example(db: dual_database::DualDatabase) -> dual_database::Result<()> {
//! let bookings = db.table("bookings")?;
//! let declared = bookings.declaration();
//! let at = jiff::civil::date(2026, 11, 1).at(10, 0, 0, 0);
//! let booking = Booking { id: None, at, guests: 2, note: None };
//! // The row gets a number: its key is numbered by itself, and was not named.
//! bookings.add(&Patch::from_struct(declared, &booking)?).await?;
//!
//! let earliest = Filter::default().order_by(declared, "at", Direction::Ascending)?;
//! for row in bookings.list(&earliest, Some(10)).await?.value {
//!     let booking: Booking = row.to_struct(declared)?;
//!     println!("{} guests at {}", booking.guests, booking.at);
//! }
//!
//! // The same in a transaction, with what it has done itself.
//! db.transaction(async |tx| {
//!     for row in tx.list("bookings", &earliest, Some(10)).await? {
//!         let mut patch = Patch::default();
//!         patch.set(declared, "note", "soon".into())?;
//!         tx.update("bookings", row.key, &patch).await?;
//!     }
//!     Ok(())
//! })
//! .await?;
//! # Ok(())
//! # }
//! ```
//!
//! Programs without async use [`blocking::DualDatabase`].
//!
//! The rooms, in the order in which data passes; a lower room never imports an upper one (a test reads
//! all imports):
//!
//! - [`users`]: the calls on the users of the documented system, as types;
//! - [`database`]: [`DualDatabase`], the calls on any table;
//! - [`init`]: making one database of what is there;
//! - [`sync`]: the synchroniser;
//! - `adoption`: what there is on both sides, and what would make one database of it;
//! - [`verify`]: whether both stores have the same; [`health`]: how each store is; [`uninstall`];
//! - [`store`]: the two stores, one room each: connection, catalog, codec, statements;
//! - [`protocol`]: what both stores and the synchroniser share: cursor, epoch, reconcile; pure;
//! - [`merge`] and [`stamp`]: which of two writes stands; pure;
//! - [`schema`] and [`value`]: what both sides agree on;
//! - [`error`]: one error type for everything public; [`phase`]: where the time goes, in the log;
//!   [`private`]: how files with people's data are made; [`clock`].

#[forbid(unsafe_code)]
mod adoption;
#[forbid(unsafe_code)]
pub mod clock;
#[forbid(unsafe_code)]
pub mod database;
#[forbid(unsafe_code)]
pub mod error;
#[forbid(unsafe_code)]
pub mod health;
#[forbid(unsafe_code)]
pub mod init;
#[forbid(unsafe_code)]
pub mod merge;
#[forbid(unsafe_code)]
pub mod phase;
#[forbid(unsafe_code)]
pub mod private;
#[forbid(unsafe_code)]
pub mod protocol;
#[forbid(unsafe_code)]
pub mod schema;
#[forbid(unsafe_code)]
pub mod stamp;
pub mod store;
#[forbid(unsafe_code)]
pub mod sync;
#[forbid(unsafe_code)]
pub mod uninstall;
#[forbid(unsafe_code)]
pub mod users;
#[forbid(unsafe_code)]
pub mod value;
#[forbid(unsafe_code)]
pub mod verify;

pub use database::{DualDatabase, blocking};
pub use error::{Error, Kind, Result, Store};
