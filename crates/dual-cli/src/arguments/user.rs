use clap::{Args, Subcommand};

use super::ColumnText;

/// The commands of `dual user`.
#[derive(Debug, Subcommand)]
pub enum User {
    /// Add a user; an existing user_id is refused
    Add(NewUser),
    /// Show a user
    Get(ById),
    /// Set columns of a user; the other ones stay
    Update(Changes),
    /// Add a user, or set these columns of an existing one
    Upsert(NewUser),
    /// Show users, the newest first
    List(List),
    /// Delete a user
    Delete(ById),
}

/// A user as JSON.
#[derive(Args, Debug)]
pub struct NewUser {
    /// A JSON object with user_id and any other columns, or - to read it from stdin
    #[arg(value_name = "JSON")]
    pub json_object: String,
}

/// A user by key.
#[derive(Args, Debug)]
pub struct ById {
    /// The user's user_id
    #[arg(value_name = "USER_ID", allow_negative_numbers = true)]
    pub user_id: i64,
}

/// Changes of a user.
#[derive(Args, Debug)]
pub struct Changes {
    /// The user's user_id
    #[arg(value_name = "USER_ID", allow_negative_numbers = true)]
    pub user_id: i64,
    /// A JSON object of columns to set, or - to read it from stdin
    #[arg(value_name = "JSON")]
    pub json_object: String,
}

/// Which users are listed.
#[derive(Args, Debug)]
pub struct List {
    /// At most so many
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,

    /// Only those with this status
    #[arg(long, value_name = "STATUS")]
    pub status: Option<String>,

    /// Only those whose text in that column contains this one; upper and lower case differ
    #[arg(long, value_name = "COLUMN=TEXT")]
    pub contains: Vec<ColumnText>,

    /// By this column, the lowest first; with - before it the highest first. Can be repeated
    #[arg(long, value_name = "[-]COLUMN", allow_hyphen_values = true)]
    pub order: Vec<String>,
}
