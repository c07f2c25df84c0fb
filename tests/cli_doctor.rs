//! `contain doctor`: the shape of its answer holds on every host.

mod support;

use serde_json::Value;
use support::run;

const BACKENDS: [&str; 4] = ["cgroup-v2", "hybrid", "cgroup-v1", "process-group"];

fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn the_json_has_the_documented_shape() {
    let ran = run(&["doctor", "--json"]);
    let document = ran.json();
    assert_eq!(ran.stderr, "");
    assert_eq!(keys(&document), ["backends", "kernel", "selected"]);
    assert!(document["kernel"].as_str().unwrap().starts_with(|c: char| c.is_ascii_digit()));
    let backends = document["backends"].as_array().unwrap();
    let names: Vec<_> = backends.iter().map(|backend| backend["name"].as_str().unwrap()).collect();
    // In the order of this host, in which hybrid may go first.
    let hybrid_first = names[0] == "hybrid";
    let mut expected = BACKENDS;
    expected[..2].rotate_left(usize::from(hybrid_first));
    assert_eq!(names, expected);
    for backend in backends {
        assert_eq!(
            keys(backend),
            ["capabilities", "lacking", "name", "reason", "remedy", "scope", "usable"]
        );
        check_backend(backend);
    }
}

/// A usable backend says what it guarantees, another one why it cannot be used.
fn check_backend(backend: &Value) {
    if backend["usable"].as_bool().unwrap() {
        assert!(backend["reason"].is_null(), "{backend}");
        let capabilities = &backend["capabilities"];
        for strength in ["kill", "escape", "empty", "freeze", "leave_by"] {
            assert!(capabilities[strength].is_string(), "{backend}");
        }
        assert!(capabilities["limits"].is_array() && capabilities["usage"].is_array());
    } else {
        assert!(backend["capabilities"].is_null(), "{backend}");
        assert!(!backend["reason"].as_str().unwrap().is_empty(), "{backend}");
    }
}

#[test]
fn the_status_says_whether_a_backend_is_usable_and_the_first_usable_one_is_selected() {
    let ran = run(&["doctor", "--json"]);
    let document = ran.json();
    let backends = document["backends"].as_array().unwrap();
    let usable = backends.iter().find(|backend| backend["usable"] == true);
    assert_eq!(ran.status, i32::from(usable.is_none()));
    assert_eq!(document["selected"], usable.map_or(Value::Null, |backend| backend["name"].clone()));
}

#[test]
fn a_person_reads_the_same() {
    let json = run(&["doctor", "--json"]);
    let table = run(&["doctor"]);
    assert_eq!(table.status, json.status);
    let hybrid_first = json.json()["selected"] == "hybrid";
    assert_eq!(table.stdout.contains("hybrid goes first: "), hybrid_first, "{}", table.stdout);
    for backend in json.json()["backends"].as_array().unwrap() {
        let name = backend["name"].as_str().unwrap();
        assert!(table.stdout.lines().any(|line| line.starts_with(name)), "{}", table.stdout);
        if let Some(reason) = backend["reason"].as_str() {
            assert!(table.stdout.contains(reason), "{}", table.stdout);
        }
    }
}

#[test]
fn a_backend_that_was_asked_for_and_is_not_there_is_not_selected() {
    let document = run(&["doctor", "--json", "--backend", "hybrid"]).json();
    let hybrid = support::backends::entry(&document, "hybrid").clone();
    let expected = if hybrid["usable"] == true { hybrid["name"].clone() } else { Value::Null };
    assert_eq!(document["selected"], expected);
}

#[test]
fn without_systemd_no_scope_is_told_of() {
    let document = run(&["doctor", "--json", "--systemd", "never"]).json();
    let backends = document["backends"].as_array().unwrap();
    assert!(backends.iter().all(|backend| backend["scope"].is_null()), "{document}");
}
