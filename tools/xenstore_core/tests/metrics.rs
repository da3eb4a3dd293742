//! The counters as Prometheus reads them: its text format, line by line.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use support::{A, SOCKET, world};
use xenstore_core::wire::Operation::*;

/// A sample's labels and value, in order.
type Samples = Vec<(BTreeMap<String, String>, f64)>;

/// A family: its type, and its samples by name (histograms have three names).
#[derive(Debug, Default)]
struct Family {
    kind: String,
    samples: BTreeMap<String, Samples>,
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || character == '_')
}

fn labels(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for pair in text.split(',') {
        let (name, value) = pair.split_once('=').expect("label=\"value\"");
        let value = value
            .strip_prefix('"')
            .and_then(|value| value.strip_suffix('"'))
            .expect("quoted");
        assert!(is_name(name) && !value.contains(['"', '\\', '\n']));
        assert!(found.insert(name.to_string(), value.to_string()).is_none());
    }
    found
}

/// Reads a text; panics at what Prometheus would refuse.
fn parse(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n'));
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let (mut described, mut seen) = (String::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(is_name(name) && !help.is_empty());
            assert!(!families.contains_key(name), "{name} comes twice");
            described = name.to_string();
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert_eq!(name, described);
            assert!(["gauge", "counter", "histogram"].contains(&kind));
            let kind = kind.to_string();
            let family = Family {
                kind,
                ..Family::default()
            };
            families.insert(name.to_string(), family);
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').expect("a value");
        assert!(seen.insert(sample.to_string()), "{sample} comes twice");
        let (name, labels) = match sample.split_once('{') {
            Some((name, rest)) => (name, labels(rest.strip_suffix('}').expect("closed"))),
            None => (sample, BTreeMap::new()),
        };
        // Only samples of the family that was described last.
        let family = families.get_mut(&described).expect("a type comes first");
        let suffix = name.strip_prefix(described.as_str());
        let suffixes: &[&str] = match family.kind.as_str() {
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        assert!(
            suffix.is_some_and(|suffix| suffixes.contains(&suffix)),
            "{line}"
        );
        assert!(
            family.kind != "counter" || name.ends_with("_total"),
            "{name}"
        );
        let value = value.parse().expect("a number");
        let samples = family.samples.entry(name.to_string()).or_default();
        samples.push((labels, value));
    }
    families
}

#[test]
fn the_text_is_what_prometheus_reads() {
    let mut w = world();
    w.write(A, "x", "1").unwrap();
    w.read(A, "nothing").unwrap_err();
    w.ask(A, Watch, 0, &["x", "t"]).unwrap();
    for time in [0, 3, 70, 5_000, 90_000_000] {
        w.store.note_latency(A, time);
    }
    w.store.note_latency(SOCKET, 10);
    let families = parse(&w.store.metrics());
    assert!(families.len() >= 14, "{:?}", families.keys());
    let of_a = |name: &str, more: &[(&str, &str)]| -> f64 {
        let family = families
            .values()
            .find_map(|family| family.samples.get(name))
            .expect(name);
        let found = family.iter().find(|(labels, _)| {
            labels["domid"] == "1" && more.iter().all(|(label, value)| labels[*label] == *value)
        });
        found.expect(name).1
    };
    assert_eq!(of_a("xenstore_errors_total", &[]), 1.0);
    let writes = of_a("xenstore_requests_total", &[("operation", "WRITE")]);
    assert_eq!(writes, 1.0);
    assert_eq!(of_a("xenstore_quota_used", &[("quota", "watches")]), 1.0);
    assert_eq!(of_a("xenstore_quota_limit", &[("quota", "watches")]), 128.0);
    assert_eq!(of_a("xenstore_latency_microseconds_count", &[]), 5.0);
    assert_eq!(of_a("xenstore_latency_microseconds_sum", &[]), 90_005_073.0);
    // Buckets are cumulative, in order, and end with all.
    let buckets: Vec<_> =
        families["xenstore_latency_microseconds"].samples["xenstore_latency_microseconds_bucket"]
            .iter()
            .filter(|(labels, _)| labels["domid"] == "1")
            .map(|(labels, value)| (labels["le"].clone(), *value))
            .collect();
    assert!(buckets.is_sorted_by(|(_, a), (_, b)| a <= b), "{buckets:?}");
    let bounds: Vec<f64> = buckets
        .iter()
        .map(|(bound, _)| bound.parse().unwrap())
        .collect();
    assert!(bounds.is_sorted_by(|a, b| a < b), "{bounds:?}");
    assert_eq!(buckets.last().unwrap(), &("+Inf".to_string(), 5.0));
    assert!(buckets.first().unwrap().1 >= 1.0 && buckets[buckets.len() - 2].1 == 4.0);
    parse(&w.store.metrics_of(1).unwrap());
}
