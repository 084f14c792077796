//! Everything that runs: servers, nodes, workers; and the ledger of what was done to them.

use std::io;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};

use crate::crew::{Member, Yard, lock};
use crate::dump::Joined;
use crate::ledger::{Entry, Ledger, now};
use crate::nemesis::{Done, Loader};
use crate::node::Node;
use crate::operator::Side;
use crate::options::Options;
use crate::servers::Servers;
use crate::tables::Kind;
use crate::worker::Manner;

/// The world of a run.
#[derive(Debug)]
pub struct World {
    /// What the run is to be like.
    pub options: Options,
    /// Where everything is kept.
    pub folder: PathBuf,
    /// PostgreSQL; held by the fault that it is under.
    pub servers: Mutex<Servers>,
    /// The port of the server that takes writes, for those who do not go through a proxy.
    pub port: AtomicU16,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The workers.
    pub crew: Vec<Member>,
    /// Where workers are started.
    pub yard: Yard,
    /// What was done to them.
    pub ledger: Ledger,
    /// The tables that are joined, as far as writers and checks know.
    pub tables: Mutex<Vec<Joined>>,
    /// Columns that were joined while all run.
    pub columns: Mutex<Vec<(Kind, String)>>,
    /// Held by who changes PostgreSQL's table, or how it is written to.
    pub table: Mutex<()>,
    /// Who loads past the triggers.
    pub loader: Mutex<Loader>,
    /// Writers from outside go on.
    pub open: AtomicBool,
    /// Observers go on.
    pub watched: AtomicBool,
    /// When the last fault that may destroy something ended; 0 once it is recovered from.
    pub destroyed: AtomicU64,
    /// Held by the one that is being inflicted.
    pub destroying: Mutex<()>,
    /// How often a comparison that waited for a person was let go on.
    pub repairs: AtomicU64,
}

impl World {
    /// Servers, nodes and ways; no worker runs yet.
    ///
    /// # Errors
    /// Something cannot be started.
    pub async fn make(options: Options, folder: PathBuf) -> io::Result<World> {
        for room in ["ledgers", "logs"] {
            std::fs::create_dir_all(folder.join(room))?;
        }
        let (certificate, key) = certificate(&folder)?;
        let servers = Servers::start(&certificate, &key).map_err(io::Error::other)?;
        let mut nodes = Vec::new();
        for number in 0..options.nodes as usize {
            nodes.push(Node::new(number, &folder, servers.ports()).await?);
        }
        let mut crew = Vec::new();
        for node in 0..nodes.len() {
            for which in 0..options.workers_per_node {
                // In every other run the last node's last worker writes to the file first.
                let last = node + 1 == nodes.len() && which + 1 == options.workers_per_node;
                let local = last && options.seed.is_multiple_of(2);
                let manner = if local && which > 0 { Manner::Local } else { Manner::Library };
                crew.push(Member::new(crew.len() as i64 + 1, node, manner));
            }
        }
        crew.push(Member::new(crew.len() as i64 + 1, 0, Manner::Command));
        Ok(World {
            yard: Yard::new(&options, &folder),
            ledger: Ledger::create(&folder.join("ledgers"), "nemesis", None, 0)?,
            tables: Mutex::default(),
            columns: Mutex::default(),
            table: Mutex::new(()),
            loader: Mutex::new(Loader::new(&folder)?),
            port: AtomicU16::new(servers.primary().port()),
            servers: Mutex::new(servers),
            options,
            folder,
            nodes,
            crew,
            open: AtomicBool::new(true),
            watched: AtomicBool::new(true),
            destroyed: AtomicU64::new(0),
            destroying: Mutex::new(()),
            repairs: AtomicU64::new(0),
        })
    }

    /// The tables that are joined.
    pub fn joined(&self) -> Vec<Joined> {
        lock(&self.tables).clone()
    }

    /// Asks PostgreSQL which tables are joined. Says how many of ours there are; a table that is gone
    /// with a restored server stays among those that are meant to be.
    pub fn learn(&self) -> usize {
        let sql = "SELECT name || ' ' || coalesce(declaration::json ->> 'label', name) \
                   FROM dual.tracked;";
        let printed = Side::Postgres.run(self, sql).unwrap_or_default();
        let mut tables = lock(&self.tables);
        for (name, sidecar) in printed.lines().filter_map(|line| line.split_once(' ')) {
            if let Some(kind) = Kind::named(name) {
                tables.retain(|(known, _)| *known != kind);
                tables.push((kind, sidecar.to_owned()));
            }
        }
        tables.sort();
        tables.len()
    }

    /// The port of the server that takes writes.
    pub fn port(&self) -> u16 {
        self.port.load(Ordering::SeqCst)
    }

    /// Where the servers are now, for everybody.
    pub fn lead(&self, servers: &Servers) {
        let ports = servers.ports();
        self.port.store(ports[0], Ordering::SeqCst);
        for node in &self.nodes {
            for (way, port) in node.ways.iter().zip(ports) {
                way.lead_to(port);
            }
        }
    }

    /// Starts the worker, again and again if the program cannot be started.
    pub fn start(&self, member: &Member) {
        if let Err(error) = member.start(&self.yard, &self.nodes) {
            lock(&member.life).deaths.push(format!("w{} does not start: {error}", member.number));
        }
    }

    /// Notes a fault that has ended.
    pub fn inflicted(&self, nemesis: &str, t0: u64, done: Done) {
        let Done { target, lost_from, lost_to, lost_rows, table, note } = done;
        let (nemesis, t1, table) =
            (nemesis.into(), now(), table.map(|kind| kind.name().to_owned()));
        self.ledger.write(&Entry::Fault {
            nemesis,
            target,
            t0,
            t1,
            lost_from,
            lost_to,
            lost_rows,
            table,
            note,
        });
    }
}

fn certificate(folder: &std::path::Path) -> io::Result<(PathBuf, PathBuf)> {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])
        .map_err(io::Error::other)?;
    let paths = (folder.join("server.crt"), folder.join("server.key"));
    std::fs::write(&paths.0, made.cert.pem())?;
    std::fs::write(&paths.1, made.signing_key.serialize_pem())?;
    Ok(paths)
}
