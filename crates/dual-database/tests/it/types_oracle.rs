//! What is made of a value here, PostgreSQL makes of it as well: it is asked.

use dual_database::schema::{LogicalType, quoted_text};
use dual_database::value::{Value, canonical_bytes, plain_text};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use throwaway_postgres::shared;

use crate::types_scene::scene;

/// So many texts are asked about.
const TEXTS: usize = 3_000;

fn drawn<S: Strategy>(strategy: &S) -> Vec<S::Value> {
    let mut runner = TestRunner::deterministic();
    (0..TEXTS).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

/// What PostgreSQL prints after reading each text as that type; `None` where it refuses it.
fn printed(texts: &[String], kind: &str) -> Vec<Option<String>> {
    let scene = scene(shared().unwrap());
    scene.sql(&format!(
        "CREATE FUNCTION tried(value text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN \
         RETURN value::{kind}::text; EXCEPTION WHEN OTHERS THEN RETURN NULL; END $$"
    ));
    let values: Vec<String> = texts.iter().map(|text| format!("({})", quoted_text(text))).collect();
    let sql = format!(
        "SELECT tried(v) FROM ROWS FROM (unnest(ARRAY(SELECT v FROM (VALUES {}) AS t (v)))) \
         WITH ORDINALITY AS u (v, at) ORDER BY at",
        values.join(", ")
    );
    scene.sql(&sql).into_iter().map(|row| row[0].clone()).collect()
}

fn compare(kind: &LogicalType, name: &str, texts: &[String]) {
    let refused = texts.iter().zip(printed(texts, name)).filter(|(text, there)| {
        let here = kind.accept(Value::Text((*text).clone())).ok();
        let here = here.and_then(|value| plain_text(&value).map(|text| text.into_owned()));
        assert_eq!(here, *there, "{text:?}");
        there.is_none()
    });
    // Both kinds were among them.
    assert!((TEXTS / 50..TEXTS - TEXTS / 50).contains(&refused.count()));
}

#[test]
fn a_decimal_number_is_what_postgresql_makes_of_it() {
    let number = prop_oneof![
        9 => "[ \t]{0,1}[-+]?[0-9]{0,5}(\\.[0-9]{0,6})?([eE][-+]?[0-9]{1,2})?\n?",
        1 => "[-+]?(nan|NaN|inf|Infinity|infinit|0x1f|1_0|[eE.])",
    ];
    // A sign before NaN, and digits in other forms, are read by some versions only.
    let texts =
        drawn(&number).into_iter().filter(|text| !text.contains(['x', '_'])).collect::<Vec<_>>();
    compare(&LogicalType::Numeric, "numeric", &texts);
}

/// JSON, mostly.
fn document() -> impl Strategy<Value = String> {
    let blank = || "[ \t\n\r]{0,1}";
    let string = prop_oneof![
        6 => "[ -!#-\\[\\]-~яЁ😀]{0,4}",
        1 => "(\\\\[\"\\\\/bfnrt]|\\\\u00[0-7][0-9a-fA-F]|\\\\ud83d\\\\ude00|\\\\u042F){1,3}",
        1 => "(\\\\u0000|\\\\ud83d|\\\\ude00|\\\\ud83dx|\\\\x|\\\\u12|\t)",
    ]
    .prop_map(|text| format!("\"{text}\""));
    let name = prop_oneof!["(a|b|aa|ab|é|Z|)", "[a-c]{0,3}"].prop_map(|text| format!("\"{text}\""));
    let scalar = prop_oneof![
        2 => Just("null".to_owned()),
        2 => Just("true".to_owned()),
        6 => "-?(0|[1-9][0-9]{0,4})(\\.[0-9]{1,4})?([eE][-+]?[0-9]{1,2})?",
        1 => "(-?0[0-9]|1\\.|\\.5|\\+1|nul|True|NaN|)",
        8 => string,
    ];
    let padded = move |inner: BoxedStrategy<String>| {
        (blank(), inner, blank())
            .prop_map(|(before, inner, behind)| format!("{before}{inner}{behind}"))
    };
    let scalar = padded(scalar.boxed()).boxed();
    scalar.prop_recursive(4, 24, 5, move |inner| {
        let list = prop::collection::vec(inner.clone(), 0..4);
        let list = list.prop_map(|all| format!("[{}]", all.join(",")));
        let member = (padded(name.clone().boxed()), inner);
        let members = prop::collection::vec(member.prop_map(|(n, v)| format!("{n}:{v}")), 0..5);
        let object = members.prop_map(|all| format!("{{{}}}", all.join(",")));
        padded(prop_oneof![list, object].boxed()).boxed()
    })
}

#[test]
fn a_document_is_what_postgresql_makes_of_it() {
    compare(&LogicalType::Jsonb, "jsonb", &drawn(&document()));
}

#[test]
fn a_floating_point_number_is_the_same_in_postgresql() {
    let scene = scene(shared().unwrap());
    let check = |kind: &str, sent: &str, values: Vec<Value>| {
        let all: Vec<String> = values
            .iter()
            .map(|value| format!("('{}'::{kind})", plain_text(value).unwrap()))
            .collect();
        let sql = format!(
            "SELECT encode({sent}(v + 0::{kind}), 'hex'), v::text FROM (VALUES {}) AS t (v)",
            all.join(", ")
        );
        let logical = if kind == "real" { LogicalType::Real } else { LogicalType::Double };
        let all = [vec!["SET extra_float_digits = 3".to_owned()], vec![sql]].concat().join("; ");
        for (value, row) in values.iter().zip(scene.sql(&all)) {
            let bits = String::from_utf8(canonical_bytes(value).unwrap().into_owned()).unwrap();
            assert_eq!(row[0].as_deref(), Some(bits.as_str()), "{value:?}");
            assert_eq!(logical.parse(row[1].clone().unwrap()).as_ref(), Some(value));
        }
    };
    let doubles = drawn(&prop::num::f64::ANY).into_iter().filter(|n| !n.is_nan());
    // Decimals that lie right between two numbers.
    let edges = (-300..300).map(|at| format!("1e{at}").parse().unwrap());
    let powers = (-1_074..1_024).map(|at| 2_f64.powi(at));
    check("float8", "float8send", doubles.chain(edges).chain(powers).map(Value::Float).collect());
    let reals = drawn(&prop::num::f32::ANY).into_iter().filter(|n| !n.is_nan());
    let edges = (-44..39).map(|at| format!("1e{at}").parse().unwrap());
    let powers = (-149..128).map(|at| 2_f32.powi(at));
    check("real", "float4send", reals.chain(edges).chain(powers).map(Value::Real).collect());
}
