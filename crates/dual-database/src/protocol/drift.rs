//! What has become of capture.

/// What has become of capture in a store since it was installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// Nothing.
    None,
    /// Columns were added, dropped or given another type. No write was missed, but a change of
    /// type can rewrite values without any: the table has to be compared.
    Columns,
    /// Writes may have been missed. A trigger is missing, disabled or another one, or was so for a while; one
    /// could not do its work; the table is not the one that was tracked; or, in the file, a unique index
    /// came or went.
    Triggers,
    /// The table is not tracked here at all.
    Absent,
}
