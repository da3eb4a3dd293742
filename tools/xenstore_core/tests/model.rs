//! The store against the naive one: random sequences, and all interleavings of three short transactions of two clients.
//! `XENSTORE_FULL=1` runs the full length.

mod support;

use proptest::prelude::*;
use support::reference::{Checker, Op};
use support::{SOCKET, domain};
use xenstore_core::ConnectionId;

const PATHS: [&str; 10] = [
    "/t",
    "/t/a",
    "/t/a/b",
    "/t/a/b/c",
    "/t/d",
    "/t/d/e",
    "/local/domain/1/x",
    "/local/domain/1/x/y",
    "/local/domain/2/x",
    "/tool",
];

const PERMS: [&[(u16, char)]; 7] = [
    &[(0, 'n')],
    &[(0, 'b')],
    &[(1, 'n')],
    &[(1, 'r')],
    &[(2, 'n'), (1, 'b')],
    &[(1, 'n'), (2, 'r')],
    &[(2, 'w')],
];

fn full() -> bool {
    std::env::var_os("XENSTORE_FULL").is_some()
}

fn client(number: u8) -> ConnectionId {
    [SOCKET, domain(1), domain(2)][usize::from(number) % 3]
}

fn operation(kind: u8, path: u8, argument: u8) -> Op {
    let path = PATHS[usize::from(path) % PATHS.len()].to_string();
    match kind % 10 {
        0 | 1 => Op::Read(path),
        2..=4 => Op::Write(path, vec![argument; usize::from(argument % 4)]),
        5 => Op::Mkdir(path),
        6 => Op::Rm(path),
        7 => Op::Dir(path),
        8 => Op::GetPerms(path),
        _ => Op::SetPerms(path, PERMS[usize::from(argument) % PERMS.len()].to_vec()),
    }
}

/// What, whose, and three arguments.
type Step = (u8, u8, u8, u8, u8);

fn run(steps: &[Step]) -> (usize, usize) {
    let mut checker = Checker::new(6);
    let mut open: Vec<(ConnectionId, u32)> = Vec::new();
    for (what, who, kind, path, argument) in steps {
        let id = client(*who);
        let mine: Vec<usize> = (0..open.len())
            .filter(|index| open[*index].0 == id)
            .collect();
        match what % 16 {
            0 if mine.len() < 3 => open.push((id, checker.begin(id))),
            1 | 2 if !mine.is_empty() => {
                let index = mine[usize::from(*argument) % mine.len()];
                let (id, number) = open.remove(index);
                checker.end(id, number, kind % 8 != 0);
            }
            3 => {
                let path = PATHS[usize::from(*path) % PATHS.len()];
                checker.watch(id, path, &format!("{}", argument % 2));
            }
            4..=10 if !mine.is_empty() => {
                let number = open[mine[usize::from(*argument) % mine.len()]].1;
                checker.run(id, number, &operation(*kind, *path, *argument));
            }
            _ => checker.run(id, 0, &operation(*kind, *path, *argument)),
        }
    }
    checker.compare();
    for (id, number) in open {
        checker.end(id, number, true);
    }
    checker.compare();
    (checker.committed, checker.conflicts)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(if full() { 20_000 } else { 150 })
    })]

    #[test]
    fn like_the_naive_store(steps in prop::collection::vec(any::<Step>(), 0..120)) {
        run(&steps);
    }
}

/// Short transactions: all that can happen between two of them.
fn programs() -> Vec<Op> {
    let mut programs = vec![
        Op::Write("/t/a".into(), b"new".to_vec()),
        Op::Dir("/t".into()),
    ];
    if full() {
        programs.extend([
            Op::Read("/t/a".into()),
            Op::Rm("/t/a".into()),
            Op::Write("/t/a/b".into(), b"child".to_vec()),
            Op::Mkdir("/t/n".into()),
            Op::SetPerms("/t/a".into(), vec![(0, 'r')]),
            Op::Rm("/t".into()),
        ]);
    }
    programs
}

/// All orders of three sequences of so many steps each.
fn interleavings(left: [usize; 3], prefix: &mut Vec<usize>, all: &mut Vec<Vec<usize>>) {
    if left == [0; 3] {
        all.push(prefix.clone());
    }
    for which in 0..3 {
        if left[which] > 0 {
            let mut rest = left;
            rest[which] -= 1;
            prefix.push(which);
            interleavings(rest, prefix, all);
            prefix.pop();
        }
    }
}

#[test]
fn all_interleavings_of_three_transactions() {
    // Domain 0's client has two of them, domain 1 has one; each begins, does one thing, and ends.
    let owners = [SOCKET, SOCKET, domain(1)];
    let mut orders = Vec::new();
    interleavings([3; 3], &mut Vec::new(), &mut orders);
    assert_eq!(orders.len(), 1680);
    let programs = programs();
    let (mut runs, mut committed, mut conflicts) = (0, 0, 0);
    for first in &programs {
        for second in &programs {
            for third in &programs {
                let ops = [first, second, third];
                for order in &orders {
                    let mut checker = Checker::new(6);
                    checker.run(SOCKET, 0, &Op::Write("/t/a".into(), b"old".to_vec()));
                    checker.watch(domain(1), "/t", "w");
                    let (mut at, mut numbers) = ([0; 3], [0; 3]);
                    for which in order {
                        let (id, which) = (owners[*which], *which);
                        match at[which] {
                            0 => numbers[which] = checker.begin(id),
                            1 => checker.run(id, numbers[which], ops[which]),
                            _ => checker.end(id, numbers[which], true),
                        }
                        at[which] += 1;
                    }
                    if full() || runs % 8 == 0 {
                        checker.compare();
                    }
                    runs += 1;
                    committed += checker.committed;
                    conflicts += checker.conflicts;
                }
            }
        }
    }
    println!("{runs} runs, {committed} transactions committed, {conflicts} conflicts");
    assert!(committed > 0 && conflicts > 0);
}
