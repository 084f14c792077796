//! The file of a node and its disk.

use std::fs::{self, File, Permissions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Done, Skipped};
use crate::ledger::now;
use crate::node::Node;
use crate::schedule::Event;
use crate::shell;
use crate::world::World;

const BUSY: Skipped = "its file is in trouble";
/// How old what is written to a file may be when it is deleted, in microseconds.
const MARGIN: u64 = 500_000;
/// How long it is waited until somebody meets a page that was overwritten.
const NOTICED: Duration = Duration::from_secs(20);

fn node<'w>(world: &'w World, event: &Event) -> &'w Node {
    &world.nodes[event.pick(world.nodes.len())]
}

fn done(node: &Node) -> Done {
    Done::to(format!("node {}", node.number))
}

fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(end);
    name.into()
}

pub(super) fn fill(world: &World, event: &Event) -> Result<Done, Skipped> {
    let node = node(world, event);
    let Ok(_guard) = node.trouble.try_lock() else { return Err(BUSY) };
    if !node.has_disk {
        return Err("no disk can be mounted here");
    }
    let balloon = node.folder.join("balloon");
    let filled = File::create(&balloon).map(|mut file| {
        let block = vec![0_u8; 65_536];
        while file.write_all(&block).is_ok() {}
        while file.write_all(&block[..512]).is_ok() {}
    });
    std::thread::sleep(event.lasts());
    let _ = fs::remove_file(balloon);
    filled.map(|()| done(node)).map_err(|_| "its disk cannot be filled")
}

pub(super) fn forbid(world: &World, event: &Event) -> Result<Done, Skipped> {
    let node = node(world, event);
    let Ok(_guard) = node.trouble.try_lock() else { return Err(BUSY) };
    if !world.yard.humble {
        return Err("nobody can be kept from writing here");
    }
    let set = |file, folder| {
        let _ = fs::set_permissions(&node.file, Permissions::from_mode(file));
        let _ = fs::set_permissions(&node.folder, Permissions::from_mode(folder));
    };
    set(0o444, 0o555);
    // Who has it open goes on; who opens it now cannot.
    let members = world.crew.iter().filter(|member| member.node == node.number);
    let hit = members.take(1 + (event.choice % 2) as usize);
    for member in hit {
        if let Ok(_trouble) = member.trouble.try_lock() {
            member.kill();
            world.start(member);
        }
    }
    std::thread::sleep(event.lasts());
    set(0o644, 0o755);
    Ok(done(node))
}

pub(super) fn lock_file(world: &World, event: &Event) -> Result<Done, Skipped> {
    let node = node(world, event);
    let Ok(_guard) = node.trouble.try_lock() else { return Err(BUSY) };
    let kind = if event.choice.is_multiple_of(3) { "EXCLUSIVE" } else { "IMMEDIATE" };
    let mut child = shell::sqlite_command(&node.file, "-list")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|_| "there is no sqlite3")?;
    if let Some(stdin) = child.stdin.as_mut() {
        let _ = writeln!(stdin, ".timeout 2000\nBEGIN {kind};");
    }
    std::thread::sleep(event.lasts());
    if let Some(mut stdin) = child.stdin.take() {
        let _ = writeln!(stdin, "ROLLBACK;");
    }
    let _ = shell::wait(&mut child, Duration::from_secs(10));
    Ok(Done { note: Some(kind.into()), ..done(node) })
}

pub(super) fn delete(world: &World, event: &Event) -> Result<Done, Skipped> {
    let node = node(world, event);
    let Ok(_guard) = node.trouble.try_lock() else { return Err(BUSY) };
    let lost_from = now().saturating_sub(MARGIN);
    fs::remove_file(&node.file).map_err(|_| "there is no file")?;
    let all = event.choice.is_multiple_of(2);
    if all {
        for end in ["-wal", "-shm"] {
            let _ = fs::remove_file(beside(&node.file, end));
        }
    }
    let note = Some(if all { "with its log" } else { "without its log" }.into());
    Ok(Done { lost_from: Some(lost_from), note, ..done(node) })
}

pub(super) fn corrupt(world: &World, event: &Event) -> Result<Done, Skipped> {
    let node = node(world, event);
    let Ok(_guard) = node.trouble.try_lock() else { return Err(BUSY) };
    // What is in the log would cover the page.
    let _ = shell::sqlite(&node.file, "-list", "PRAGMA wal_checkpoint(TRUNCATE);");
    let before = set_aside(node);
    let page = wreck(&node.file, event.choice).map_err(|_| "its file cannot be written")?;
    node.wrecked.store(now(), Ordering::SeqCst);
    // Until somebody meets the page the file is written on, and goes with it.
    let until = Instant::now() + NOTICED;
    while set_aside(node) == before && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    let lost_to = (set_aside(node) != before).then(now);
    let note = Some(format!("page {page}"));
    Ok(Done { lost_from: Some(0), lost_to, note, ..done(node) })
}

/// How many damaged files were set aside beside the node's.
fn set_aside(node: &Node) -> usize {
    let files = fs::read_dir(&node.folder).into_iter().flatten().flatten();
    files.filter(|file| file.file_name().to_string_lossy().contains(".corrupt-")).count()
}

/// Overwrites a page of a tree with zeros: whoever reads it sees that it is none.
fn wreck(path: &Path, choice: u64) -> std::io::Result<u64> {
    const PAGE: u64 = 4_096;
    let mut file = File::options().read(true).write(true).open(path)?;
    let pages = file.metadata()?.len() / PAGE;
    for attempt in 0..pages.max(1) {
        let page = (choice + attempt) % pages.max(1);
        let head = page * PAGE + if page == 0 { 100 } else { 0 };
        let mut kind = [0];
        file.seek(SeekFrom::Start(head))?;
        file.read_exact(&mut kind)?;
        if matches!(kind[0], 2 | 5 | 10 | 13) {
            file.seek(SeekFrom::Start(page * PAGE))?;
            file.write_all(&[0; PAGE as usize])?;
            return Ok(page + 1);
        }
    }
    Err(std::io::ErrorKind::NotFound.into())
}

pub(super) fn restore(world: &World, event: &Event) -> Result<Done, Skipped> {
    let node = node(world, event);
    let Ok(_guard) = node.trouble.try_lock() else { return Err(BUSY) };
    let members: Vec<_> = world.crew.iter().filter(|member| member.node == node.number).collect();
    let guards: Vec<_> =
        members.iter().filter_map(|member| member.trouble.try_lock().ok()).collect();
    if guards.len() < members.len() {
        return Err("one of its workers is in trouble");
    }
    let backup = beside(&node.file, ".backup");
    let lost_from = now();
    let copied = shell::sqlite(&node.file, "-list", &format!(".backup '{}'", backup.display()));
    if !copied.is_ok_and(|answer| answer.ok) {
        let _ = fs::remove_file(&backup);
        return Err("its file cannot be copied");
    }
    std::thread::sleep(event.lasts());
    for member in &members {
        member.kill();
    }
    end_children(&node.file);
    for end in ["-wal", "-shm"] {
        let _ = fs::remove_file(beside(&node.file, end));
    }
    let put = fs::rename(&backup, &node.file);
    for member in &members {
        world.start(member);
    }
    put.map_err(|_| "the copy cannot be put back")?;
    Ok(Done { lost_from: Some(lost_from), ..done(node) })
}

/// Waits until nobody has the file open: programs that a killed worker had started, a shell.
fn end_children(file: &Path) {
    for _ in 0..200 {
        if !is_open(file) {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn is_open(file: &Path) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| {
        let Ok(open) = fs::read_dir(process.path().join("fd")) else { return false };
        open.flatten().any(|one| fs::read_link(one.path()).is_ok_and(|link| link == file))
    })
}
