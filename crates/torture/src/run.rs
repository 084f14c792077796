//! A run from its beginning to its report.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::check::{Findings, check};
use crate::crew::lock;
use crate::heal::{Quiet, cut_off, deliver_again, heal, make_whole};
use crate::ledger::Book;
use crate::operator::{Side, approve, dual, put_back};
use crate::options::Options;
use crate::report::Report;
use crate::schedule::{Event, draw};
use crate::shell;
use crate::tables::Kind;
use crate::worker::Manner;
use crate::world::World;
use crate::{nemesis, observer, outside};

/// What comes with PostgreSQL's tables, whoever makes them: a rule of the users', and the references of the
/// others, which old rows need not keep.
const RULE: &str = "BEGIN; \
    CREATE FUNCTION public.references_again() RETURNS void LANGUAGE plpgsql AS $$ \
    DECLARE wanted record; BEGIN \
    FOR wanted IN SELECT * FROM (VALUES ('children', 'parent', 'parents'), \
    ('positions', 'number', 'numbers')) AS w (name, of, target) \
    WHERE to_regclass('public.' || name) IS NOT NULL AND to_regclass('public.' || target) IS NOT NULL \
    AND NOT EXISTS (SELECT FROM pg_constraint \
    WHERE conrelid = to_regclass('public.' || name) AND contype = 'f') LOOP BEGIN \
    EXECUTE format('ALTER TABLE public.%I ADD FOREIGN KEY (%I) REFERENCES public.%I (id) NOT VALID', \
    wanted.name, wanted.of, wanted.target); \
    EXCEPTION WHEN invalid_foreign_key OR undefined_column THEN NULL; END; END LOOP; END $$; \
    CREATE FUNCTION public.rule() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN \
    IF to_regclass('public.users') IS NOT NULL AND NOT EXISTS (SELECT FROM pg_constraint \
    WHERE conrelid = to_regclass('public.users') AND conname = 'rule') THEN \
    ALTER TABLE public.users ADD CONSTRAINT rule CHECK (phone_number <> 'refused'); \
    END IF; PERFORM public.references_again(); END $$; \
    CREATE EVENT TRIGGER rule ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS') \
    EXECUTE FUNCTION public.rule(); COMMIT;";
/// How long the first copy may take.
const BEGINNING: Duration = Duration::from_secs(90);

/// What is needed to do it again.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The options.
    pub options: Options,
    /// The schedule.
    pub events: Vec<Event>,
}

/// Runs what the options say.
///
/// # Errors
/// Something cannot be started: that is no violation.
pub fn run(options: Options) -> io::Result<Report> {
    let events = draw(&options);
    follow(Plan { options, events })
}

/// Runs a recorded schedule until a violation shows, at most so often.
///
/// # Errors
/// As for [`run`]; the folder holds no schedule.
pub fn replay(folder: &Path, times: u32) -> io::Result<Report> {
    let text = fs::read_to_string(folder.join("schedule.json"))?;
    let mut last = Report::default();
    for attempt in 1..=times {
        let mut plan: Plan = serde_json::from_str(&text)?;
        plan.options.folder = Some(folder.join(format!("replay-{attempt}")));
        last = follow(plan)?;
        if !last.violations.is_empty() {
            return Ok(last);
        }
    }
    Ok(last)
}

/// Follows a plan.
fn follow(plan: Plan) -> io::Result<Report> {
    let folder = folder_of(&plan.options)?;
    fs::write(folder.join("schedule.json"), serde_json::to_vec_pretty(&plan)?)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let world = Arc::new(runtime.block_on(World::make(plan.options.clone(), folder.clone()))?);
    begin(&world)?;
    let observers = observer::start(&world)?;
    let writers = outside::start(&world)?;
    let faults = Arc::new(AtomicBool::new(true));
    let person = {
        let (world, faults) = (Arc::clone(&world), Arc::clone(&faults));
        std::thread::spawn(move || {
            for second in 1_u64.. {
                std::thread::sleep(Duration::from_secs(1));
                if !faults.load(Ordering::SeqCst) {
                    return;
                }
                if second % 8 == 0 {
                    approve(&world);
                    put_back(&world);
                }
            }
        })
    };
    nemesis::inflict_all(&world, &plan.events);
    faults.store(false, Ordering::SeqCst);
    let _ = person.join();
    let mut quiet = Quiet::default();
    make_whole(&world, &mut quiet);
    let cut = cut_off(&world);
    world.open.store(false, Ordering::SeqCst);
    for thread in writers {
        let _ = thread.join();
    }
    heal(&world, &mut quiet, cut);
    world.watched.store(false, Ordering::SeqCst);
    for thread in observers {
        let _ = thread.join();
    }
    world.crew.iter().for_each(|member| member.end());
    if quiet.after.is_some() {
        deliver_again(&world, &mut quiet);
    }
    let _ = quiet.postgres.write(&folder.join("postgres.dump"));
    for (node, file) in quiet.files.iter().enumerate() {
        let _ = file.write(&folder.join(format!("node{node}.dump")));
    }
    fs::write(folder.join("postgres.log"), lock(&world.servers).primary().log())?;
    fs::write(folder.join("quiet.json"), serde_json::to_vec(&quiet)?)?;
    let mut report = judge(&plan.options, &folder, &quiet)?;
    report.add_processes(&world, &folder);
    fs::write(folder.join("report.json"), serde_json::to_vec_pretty(&report)?)?;
    fs::write(folder.join("report.txt"), report.text())?;
    Ok(report)
}

/// Checks the ledgers and dumps of a folder once more.
///
/// # Errors
/// They cannot be read.
pub fn check_again(folder: &Path) -> io::Result<Report> {
    let plan: Plan = serde_json::from_slice(&fs::read(folder.join("schedule.json"))?)?;
    let quiet: Quiet = serde_json::from_slice(&fs::read(folder.join("quiet.json"))?)?;
    judge(&plan.options, folder, &quiet)
}

fn judge(options: &Options, folder: &Path, quiet: &Quiet) -> io::Result<Report> {
    let book = Book::read(&folder.join("ledgers"))?;
    let findings = match quiet.files.is_empty() {
        false => check(&book, &quiet.postgres, &quiet.files),
        true => Findings::default(),
    };
    Ok(Report::of(options, &book, quiet, findings))
}

/// The first worker joins both stores, PostgreSQL's table with a rule that the files' tables do not
/// have; then the other tables are joined, and the others come.
fn begin(world: &World) -> io::Result<()> {
    let Some(first) = world.crew.iter().find(|member| member.manner == Manner::Library) else {
        return Ok(());
    };
    let ruled = shell::psql(world.port(), RULE)?;
    if !ruled.ok {
        return Err(io::Error::other(ruled.complaint));
    }
    world.start(first);
    let start = Instant::now();
    while Side::Postgres.has(world, "users") != Some(true) {
        if start.elapsed() > BEGINNING {
            return Err(io::Error::other("no worker has made the table; see the folder logs"));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    join(world)?;
    for member in &world.crew {
        world.start(member);
    }
    Ok(())
}

/// Makes the other tables on both sides, by hand, and has them joined while the first worker runs.
fn join(world: &World) -> io::Result<()> {
    let ddl =
        |postgres| Kind::FIRST.iter().filter_map(|kind| kind.ddl(postgres)).collect::<String>();
    let made = shell::psql(world.port(), &ddl(true))?;
    if !made.ok {
        return Err(io::Error::other(made.complaint));
    }
    for node in &world.nodes {
        let mut command = std::process::Command::new("sqlite3");
        command.args(["-batch", "-bail", "-cmd", ".timeout 5000"]).arg(&node.file);
        let made = shell::run(&mut command, &ddl(false))?;
        if !made.ok {
            return Err(io::Error::other(made.complaint));
        }
    }
    let names: Vec<&str> = Kind::FIRST.iter().map(|kind| kind.name()).collect();
    let start = Instant::now();
    loop {
        let applied = dual(world, 0, &["init", "--tables", &names.join(","), "--apply", "--json"])?;
        if world.learn() == Kind::FIRST.len() {
            return Ok(());
        }
        if start.elapsed() > BEGINNING {
            return Err(io::Error::other(format!("the tables are not joined: {applied:?}")));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn folder_of(options: &Options) -> io::Result<PathBuf> {
    let folder = match &options.folder {
        Some(folder) => folder.clone(),
        None => {
            std::env::temp_dir().join(format!("torture-{}-{}", options.seed, std::process::id()))
        }
    };
    fs::create_dir_all(&folder)?;
    folder.canonicalize()
}
