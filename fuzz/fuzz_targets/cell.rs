//! Any rows through the built-in mapping.
#![no_main]

use std::sync::LazyLock;

use arbitrary::Unstructured;
use dual_import::mapping::Mapping;
use dual_database::schema::{Table, users};
use libfuzzer_sys::fuzz_target;

static TABLE: LazyLock<Table> = LazyLock::new(users);
static MAPPING: LazyLock<Mapping> =
    LazyLock::new(|| Mapping::built_in(&TABLE).expect("the built-in mapping is sound"));
static REPAIRING: LazyLock<Mapping> = LazyLock::new(|| MAPPING.clone().with_repaired_shifts(true));

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = Unstructured::new(bytes);
    let Ok(repair) = bytes.arbitrary::<bool>() else { return };
    let Ok(rows) = dual_fuzz::rows(&mut bytes) else { return };
    dual_fuzz::read(if repair { &REPAIRING } else { &MAPPING }, &TABLE, &rows);
});
