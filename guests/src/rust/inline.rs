//! Inlining-heavy: generic code of small functions that all end up inside `simulate` and `smooth`,
//! so the true call stack is only in the DWARF.

mod scale;

use std::ops::{Add, Mul};

#[derive(Clone, Copy)]
struct Vector<T> {
    x: T,
    y: T,
    z: T,
}

impl<T: Add<Output = T>> Add for Vector<T> {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Vector { x: self.x + other.x, y: self.y + other.y, z: self.z + other.z }
    }
}

impl<T: Mul<Output = T> + Copy> Mul<T> for Vector<T> {
    type Output = Self;
    #[inline(always)]
    fn mul(self, factor: T) -> Self {
        Vector { x: self.x * factor, y: self.y * factor, z: self.z * factor }
    }
}

trait Force {
    fn at(&self, place: Vector<f64>) -> Vector<f64>;
}

struct Spring {
    stiffness: f64,
}

struct Drag<F> {
    inner: F,
    share: f64,
}

impl Force for Spring {
    #[inline(always)]
    fn at(&self, place: Vector<f64>) -> Vector<f64> {
        place * -self.stiffness
    }
}

impl<F: Force> Force for Drag<F> {
    #[inline(always)]
    fn at(&self, place: Vector<f64>) -> Vector<f64> {
        let pull = self.inner.at(place);
        pull + dampen(pull, self.share)
    }
}

#[inline(always)]
fn dampen(pull: Vector<f64>, share: f64) -> Vector<f64> {
    let size = length(pull);
    pull * (-share / (1.0 + size))
}

#[inline(always)]
fn length(v: Vector<f64>) -> f64 {
    square_root(v.x * v.x + v.y * v.y + v.z * v.z)
}

/// Newton's method, so that there is a loop inside the inlined code.
#[inline(always)]
fn square_root(value: f64) -> f64 {
    let mut guess = value * 0.5 + 0.5;
    for _ in 0..6 {
        guess = 0.5 * (guess + value / guess);
    }
    guess
}

#[inline(never)]
fn simulate<F: Force>(force: &F, steps: u32) -> f64 {
    let mut place = Vector { x: 1.0, y: 2.0, z: 3.0 };
    let mut speed = Vector { x: 0.0, y: 0.1, z: -0.1 };
    for _ in 0..steps {
        speed = speed + force.at(place) * 0.01;
        place = place + speed * 0.01;
    }
    length(place)
}

#[inline(never)]
fn smooth(values: &[f64]) -> f64 {
    values
        .windows(5)
        .map(|w| w.iter().copied().map(square_root).sum::<f64>() / 5.0)
        .zip(values.iter().rev())
        .filter(|(mean, value)| mean < value)
        .map(|(mean, value)| value - mean)
        .fold(0.0, |sum, gap| sum + gap)
}

fn main() {
    let force = Drag { inner: Drag { inner: Spring { stiffness: 2.0 }, share: 0.1 }, share: 0.2 };
    let values: Vec<f64> = (0..4000u32).map(|i| f64::from(i * 7919 % 1000) + 1.0).collect();
    let mut sum = 0;
    for turn in 0..scale::scale() * 2 {
        sum = scale::mix(sum, simulate(&force, 50_000 + turn).to_bits());
        for from in 0..8 {
            sum = scale::mix(sum, smooth(&values[from * 100..]).to_bits());
        }
    }
    println!("inline {sum:016x}");
}
