//! `dual init`.

use dual_database::Result;

use crate::arguments::Init;
use crate::exit::Exit;
use crate::settings::Stores;

pub async fn run(stores: &Stores, json: bool, arguments: Init) -> Result<Exit> {
    let _ = (stores, json, arguments);
    todo!()
}
