//! Loop-heavy: a Mandelbrot set and a product of matrices; long loops, hardly a call.

mod scale;

const SIDE: usize = 160;

#[inline(never)]
fn mandelbrot(width: u32, height: u32, limit: u32) -> u64 {
    let mut total = 0;
    for row in 0..height {
        for column in 0..width {
            let re = f64::from(column) / f64::from(width) * 3.0 - 2.0;
            let im = f64::from(row) / f64::from(height) * 2.0 - 1.0;
            let (mut x, mut y, mut steps) = (0.0, 0.0, 0);
            while x * x + y * y <= 4.0 && steps < limit {
                let next = x * x - y * y + re;
                y = 2.0 * x * y + im;
                x = next;
                steps += 1;
            }
            total += u64::from(steps);
        }
    }
    total
}

#[inline(never)]
fn multiply(a: &[u32], b: &[u32], product: &mut [u32]) {
    for i in 0..SIDE {
        for j in 0..SIDE {
            let mut sum = 0u32;
            for k in 0..SIDE {
                sum = sum.wrapping_add(a[i * SIDE + k].wrapping_mul(b[k * SIDE + j]));
            }
            product[i * SIDE + j] = sum;
        }
    }
}

fn main() {
    let mut a: Vec<u32> = (0..SIDE * SIDE).map(|i| i as u32 * 7 + 1).collect();
    let b: Vec<u32> = (0..SIDE * SIDE).map(|i| i as u32 * 13 + 5).collect();
    let mut product = vec![0; SIDE * SIDE];
    let mut sum = 0;
    for turn in 0..scale::scale() * 3 {
        sum = scale::mix(sum, mandelbrot(120, 80, 150 + turn % 50));
        multiply(&a, &b, &mut product);
        std::mem::swap(&mut a, &mut product);
        sum = scale::mix(sum, u64::from(a[(turn as usize * 31) % a.len()]));
    }
    println!("loops {sum:016x}");
}
