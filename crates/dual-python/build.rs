//! Lets plain `cargo build` link the extension on macOS, where it needs to be told that Python
//! brings its own symbols.

fn main() {
    pyo3_build_config::add_extension_module_link_args();
}
