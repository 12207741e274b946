//! Allocation-heavy: binary trees of boxes, maps of strings, vectors that grow; the memory grows
//! and is used again.

mod scale;

use scale::{mix, Random};
use std::collections::BTreeMap;

struct Tree {
    left: Option<Box<Tree>>,
    right: Option<Box<Tree>>,
}

#[inline(never)]
fn plant(depth: u32) -> Option<Box<Tree>> {
    if depth == 0 {
        return None;
    }
    Some(Box::new(Tree { left: plant(depth - 1), right: plant(depth - 1) }))
}

#[inline(never)]
fn count(tree: &Option<Box<Tree>>) -> u64 {
    match tree {
        None => 0,
        Some(tree) => 1 + count(&tree.left) + count(&tree.right),
    }
}

#[inline(never)]
fn words(random: &mut Random, number: u32) -> u64 {
    let mut seen: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for position in 0..number {
        let word = format!("word-{}", random.below(500));
        seen.entry(word).or_default().push(position);
    }
    seen.iter().fold(0, |sum, (word, places)| {
        places.iter().fold(mix(sum, word.len() as u64), |sum, place| mix(sum, u64::from(*place)))
    })
}

#[inline(never)]
fn blocks(random: &mut Random, kept: &mut Vec<Vec<u8>>) -> u64 {
    let size = 1000 + random.below(30_000) as usize;
    kept.push(vec![random.next() as u8; size]);
    if kept.len() > 200 {
        let gone = kept.swap_remove(random.below(200) as usize);
        return gone.len() as u64 + u64::from(gone[gone.len() / 2]);
    }
    0
}

fn main() {
    let mut random = Random(88_172_645_463_325_252);
    let mut kept = Vec::new();
    let mut sum = 0;
    for turn in 0..scale::scale() * 3 {
        sum = mix(sum, count(&plant(14 + turn % 2)));
        sum = mix(sum, words(&mut random, 12_000));
        for _ in 0..100 {
            sum = mix(sum, blocks(&mut random, &mut kept));
        }
    }
    println!("alloc {sum:016x}");
}
