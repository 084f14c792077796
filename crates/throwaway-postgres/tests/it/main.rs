//! Against real servers, as root and as an ordinary user.

// The lint's own exception covers test functions, not what they call.
#![allow(clippy::unwrap_used)]

mod binaries;
mod life;
