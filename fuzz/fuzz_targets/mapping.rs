//! Any text as a mapping; where it is one, some rows through it. A NUL parts the two.
#![no_main]

use std::sync::LazyLock;

use arbitrary::Unstructured;
use dual_database::Kind;
use dual_import::mapping::Mapping;
use dual_database::schema::{Table, users};
use libfuzzer_sys::fuzz_target;

static TABLE: LazyLock<Table> = LazyLock::new(users);

fuzz_target!(|bytes: &[u8]| {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (text, rest) = bytes.split_at(end);
    let Ok(text) = std::str::from_utf8(text) else { return };
    match Mapping::from_toml(text, "fuzz.toml", &TABLE) {
        Ok(mapping) => {
            if let Ok(rows) = dual_fuzz::rows(&mut Unstructured::new(rest)) {
                dual_fuzz::read(&mapping, &TABLE, &rows);
            }
        }
        Err(error) => assert_eq!(error.kind(), Kind::Configuration, "{}", error.chain()),
    }
});
