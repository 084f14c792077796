//! The users of the documented system, as types: a thin room over the table of that name.
//!
//! ```
//! use dual_database::users::{UserFilter, UserPatch};
//!
//! let anna = UserPatch::new().user_id(5_123_456_789).first_name("Anna");
//! assert!(anna.set("frist_name", "Anna").is_err());
//! assert!(UserFilter::new().equals("status", "issued").is_ok());
//! ```

mod blocking;
mod calls;
mod user;

pub use user::{User, UserFilter, UserPatch};

/// The table.
const NAME: &str = "users";
