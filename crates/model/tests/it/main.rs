//! The model over many seeds, and every known mistake put back.

use model::{Trap, generate, numbers, replay, run, shrink, tables};

const SEEDS: u64 = 3_000;

/// Where to begin looking for the mistakes that need a rare history.
fn rare(trap: Trap) -> u64 {
    match trap {
        Trap::NoToken => 400,
        Trap::NoRelations => 800,
        Trap::WriteBeforePush => 3_500,
        Trap::StaleTokenIsALoss => 300,
        Trap::PlusOne => 6_300,
        Trap::DriftUnnoticed => 8_100,
        Trap::RefusedStaysSettled => 10_900,
        Trap::PurgeUnnoticed => 400,
        Trap::BirthBelowBase => 23_100,
        Trap::LateAcknowledgement => 29_400,
        Trap::NoLife => 33_000,
        Trap::PushUnlooked => 49_100,
        Trap::AnswerAfterFeed => 58_500,
        Trap::PastTokenIsACopys => 66_500,
        Trap::StaleOffset => 77_300,
        Trap::SetBackSharesAStamp => 171_200,
        Trap::HorizonBelieved => 173_000,
        Trap::PushReadForAnother => 182_300,
        _ => 0,
    }
}

/// The same of those about several tables.
fn of_tables(trap: tables::Trap) -> u64 {
    match trap {
        tables::Trap::CursorOfSome | tables::Trap::TakenBefore => 400,
        tables::Trap::SetBackPassesBy | tables::Trap::PassedWithOthers => 900,
        tables::Trap::GapInPassing => 2_000,
        tables::Trap::MetIsPending => 8_100,
        tables::Trap::GivenPastTheEnd => 9_800,
        tables::Trap::GhostStays => 13_200,
        _ => 0,
    }
}

/// The first seed of `seeds` whose history breaks a promise; with a mistake put back, one that
/// keeps them without it.
fn first_violation(seeds: std::ops::Range<u64>, trap: Option<Trap>) -> Option<(u64, String)> {
    seeds.into_iter().find_map(|seed| {
        let what = run(seed, trap).violation?;
        let blamed = trap.is_none() || run(seed, None).violation.is_none();
        blamed.then_some((seed, what))
    })
}

#[test]
fn the_first_half_of_the_seeds_keeps_the_promises() {
    assert_eq!(first_violation(0..SEEDS / 2, None), None);
}

#[test]
fn the_second_half_of_the_seeds_keeps_the_promises() {
    assert_eq!(first_violation(SEEDS / 2..SEEDS, None), None);
}

#[test]
fn every_mistake_is_noticed() {
    let missed: Vec<&str> = Trap::ALL
        .iter()
        .filter(|trap| first_violation(rare(**trap)..rare(**trap) + 400, Some(**trap)).is_none())
        .map(|trap| trap.name())
        .collect();
    assert_eq!(missed, Vec::<&str>::new());
}

/// By the corrections 30 to 34 of the protocol.
#[test]
fn seeds_that_once_broke_a_promise_keep_it() {
    assert_eq!(run(29_914, None).violation, None);
    assert_eq!(run(38_000, None).violation, None);
    // A stamp of the future in the file hid that it had not seen what a transaction had read.
    assert_eq!(run(74_386, None).violation, None);
    assert_eq!(run(290_049, None).violation, None);
    assert_eq!(run(400_350, None).violation, None);
    assert_eq!(run(404_899, None).violation, None);
    // A blank at the purge horizon stands for the equal value that was merged into it.
    assert_eq!(run(54_866, None).violation, None);
    assert_eq!(run(167_088, None).violation, None);
    // A delete that was set aside, and a purge that is still to be noticed, are no difference.
    assert_eq!(run(20_749, None).violation, None);
    assert_eq!(run(64_932, None).violation, None);
    // What a column had in a life that was lost with a server may stand in the next.
    assert_eq!(run(314_225, None).violation, None);
    assert_eq!(run(352_848, None).violation, None);
    // A death that PostgreSQL has lost and does not take back takes what was set above it.
    assert_eq!(run(701_654, None).violation, None);
}

#[test]
fn a_seed_is_one_history() {
    assert_eq!(run(17, None), run(17, None));
}

#[test]
fn the_histories_exercise_what_they_are_for() {
    let reports: Vec<_> = (0..200).map(|seed| run(seed, None)).collect();
    let total = |count: fn(&model::Report) -> usize| reports.iter().map(count).sum::<usize>();
    assert!(total(|report| report.acknowledged) > 1_000);
    assert!(total(|report| report.breaks) > 100);
    assert!(total(|report| report.held) > 5);
    assert!(total(|report| report.conflicts) > 200);
    assert!(total(|report| report.sums) > 10_000);
}

#[test]
fn a_shrunk_history_still_fails() {
    let trap = Some(Trap::CursorByMaximum);
    let (seed, _) = first_violation(0..SEEDS, trap).expect("the trap is noticed");
    let fails = |history: &[_]| replay(seed, history, trap).violation.is_some();
    let whole = generate(seed);
    let short = shrink(whole.clone(), fails);
    assert!(fails(&short) && short.len() < whole.len());
}

#[test]
fn numbers_that_both_sides_hand_out_keep_the_promises() {
    let runs = || (0..SEEDS).map(|seed| (seed, numbers::run(seed, None)));
    let first = runs().find_map(|(seed, report)| Some((seed, report.violation?)));
    assert_eq!(first, None);
    assert!(runs().take(200).map(|(_, report)| report.moved).sum::<usize>() > 1_000);
    assert!(runs().take(200).map(|(_, report)| report.followed).sum::<usize>() > 2_000);
}

#[test]
fn every_mistake_about_numbers_is_noticed() {
    let keeps = |trap| (0..2_000).all(|seed| numbers::run(seed, Some(trap)).violation.is_none());
    let missed: Vec<&str> =
        numbers::Trap::ALL.iter().copied().filter(|trap| keeps(*trap)).map(|t| t.name()).collect();
    assert_eq!(missed, Vec::<&str>::new());
}

#[test]
fn several_tables_keep_the_promises() {
    assert_eq!(first_of_tables(0..SEEDS / 2), None);
}

#[test]
fn several_tables_keep_the_promises_in_other_histories() {
    assert_eq!(first_of_tables(SEEDS / 2..SEEDS), None);
}

fn first_of_tables(seeds: std::ops::Range<u64>) -> Option<(u64, String)> {
    seeds.into_iter().find_map(|seed| Some((seed, tables::run(seed, None).violation?)))
}

#[test]
fn the_histories_of_several_tables_exercise_what_they_are_for() {
    let reports: Vec<_> = (0..200).map(|seed| tables::run(seed, None)).collect();
    let total = |count: fn(&tables::Report) -> usize| reports.iter().map(count).sum::<usize>();
    assert!(total(|report| report.paused) > 500);
    assert!(total(|report| report.compared) > 1_000);
    assert!(total(|report| report.held) > 10);
    assert!(total(|report| report.aside) > 50);
    assert!(total(|report| report.conflicts) > 2_000);
}

/// By the corrections 41 to 46 and 48 of the protocol.
#[test]
fn seeds_of_several_tables_that_once_broke_a_promise_keep_it() {
    for seed in [827, 1_014, 2_020, 2_185, 2_195, 8_191, 9_813, 10_888, 13_236, 16_737, 18_678] {
        assert_eq!(tables::run(seed, None).violation, None, "{seed}");
    }
}

#[test]
fn every_mistake_about_several_tables_is_noticed() {
    let missed: Vec<&str> = tables::Trap::ALL
        .iter()
        .filter(|trap| {
            let from = of_tables(**trap);
            (from..from + 400).all(|seed| tables::run(seed, Some(**trap)).violation.is_none())
        })
        .map(|trap| trap.name())
        .collect();
    assert_eq!(missed, Vec::<&str>::new());
}
