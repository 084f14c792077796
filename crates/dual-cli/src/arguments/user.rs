use std::str::FromStr;

use clap::{Args, Subcommand};

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
    pub contains: Vec<Substring>,
}

/// A column and a part of its text.
#[derive(Clone, Debug)]
pub struct Substring {
    /// The column.
    pub column: String,
    /// What it contains.
    pub text: String,
}

impl FromStr for Substring {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Substring, Self::Err> {
        match text.split_once('=') {
            Some((column, text)) if !column.is_empty() && !text.is_empty() => {
                Ok(Substring { column: column.into(), text: text.into() })
            }
            _ => Err("give COLUMN=TEXT, such as first_name=Anna"),
        }
    }
}
