;; Many arguments: 28 of every number type and two vectors in, 12 results out, far more than fit in
;; registers, recursively. Needs simd and multi-value, which are on by default.
;;
;; `run` takes a scale and returns a checksum; `_start` runs it at 100 and prints the sum.
(module $manyargs
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "0123456789abcdef")
  (data (i32.const 32) "manyargs ----------------\0a")

  (func $mix (param $sum i64) (param $value i64) (result i64)
    (local.set $sum
      (i64.mul (i64.xor (local.get $sum) (local.get $value)) (i64.const 0x9e3779b97f4a7c15)))
    (i64.xor (local.get $sum) (i64.shr_u (local.get $sum) (i64.const 29))))

  ;; 28 numbers and two vectors; every call turns them round by one place.
  (func $turn
    (param $a0 i32) (param $a1 i32) (param $a2 i32) (param $a3 i32) (param $a4 i32) (param $a5 i32) (param $a6 i32) (param $a7 i32) (param $a8 i32)
    (param $b0 i64) (param $b1 i64) (param $b2 i64) (param $b3 i64) (param $b4 i64) (param $b5 i64) (param $b6 i64) (param $b7 i64) (param $b8 i64)
    (param $c0 f32) (param $c1 f32) (param $c2 f32) (param $c3 f32) (param $d0 f64) (param $d1 f64) (param $d2 f64) (param $d3 f64) (param $d4 f64) (param $d5 f64)
    (param $v v128) (param $w v128)
    (result i64 i64 i64 i64 i32 i32 i32 f64 f64 f64 f32 v128)
    (if (i32.eqz (local.get $a0))
      (then
        (return
          (i64.xor (local.get $b0) (local.get $b8)) (i64.add (local.get $b1) (local.get $b7))
          (i64.xor (local.get $b2) (local.get $b6)) (i64.add (local.get $b3) (local.get $b5))
          (i32.add (local.get $a1) (local.get $a8)) (i32.xor (local.get $a2) (local.get $a7))
          (i32.add (local.get $a3) (local.get $a6))
          (f64.add (local.get $d0) (local.get $d5)) (local.get $d1) (local.get $d2)
          (local.get $c3) (i64x2.add (local.get $v) (local.get $w)))))
    (call $turn
      (i32.sub (local.get $a0) (i32.const 1)) (local.get $a2) (local.get $a3) (local.get $a4) (local.get $a5)
      (local.get $a6) (local.get $a7) (local.get $a8) (local.get $a1)
      (i64.add (local.get $b1) (i64.mul (local.get $b0) (i64.const 6364136223846793005)))
      (local.get $b2) (local.get $b3) (local.get $b4) (local.get $b5)
      (local.get $b6) (local.get $b7) (local.get $b8) (local.get $b0)
      (local.get $c1) (local.get $c2) (local.get $c3) (local.get $c0)
      (f64.add (local.get $d1) (f64.promote_f32 (local.get $c0)))
      (local.get $d2) (local.get $d3) (local.get $d4) (local.get $d5) (local.get $d0)
      (local.get $w) (i64x2.add (local.get $v) (i64x2.splat (local.get $b4))))
    (call $again))

  ;; As many arguments as $turn has results, and they are passed straight on.
  (func $again
    (param $p i64) (param $q i64) (param $r i64) (param $s i64) (param $t i32) (param $u i32)
    (param $v i32) (param $w f64) (param $x f64) (param $y f64) (param $z f32) (param $o v128)
    (result i64 i64 i64 i64 i32 i32 i32 f64 f64 f64 f32 v128)
    (local.get $q) (local.get $r) (local.get $s) (i64.rotl (local.get $p) (i64.const 9))
    (local.get $u) (local.get $v) (i32.add (local.get $t) (i32.const 1))
    (local.get $x) (local.get $y) (local.get $w) (local.get $z) (local.get $o))

  (func $start (param $seed i64) (result i64)
    (local $p i64)
    (call $turn
      (i32.const 20) (i32.const 1) (i32.const 2) (i32.const 3) (i32.const 4) (i32.const 5) (i32.const 6)
      (i32.const 7) (i32.const 8)
      (local.get $seed) (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4) (i64.const 5) (i64.const 6)
      (i64.const 7) (i64.const 8)
      (f32.const 1) (f32.const 2) (f32.const 3) (f32.const 4)
      (f64.const 1) (f64.const 2) (f64.const 3) (f64.const 4) (f64.const 5) (f64.const 6)
      (v128.const i64x2 1 2) (v128.const i64x2 3 4))
    ;; Fold the twelve results into one, from the last to the first.
    i64x2.extract_lane 1
    local.set $p
    i32.trunc_sat_f32_u
    i64.extend_i32_u
    local.get $p
    call $mix
    local.set $p
    i64.trunc_sat_f64_u
    local.get $p
    call $mix
    local.set $p
    i64.trunc_sat_f64_u
    local.get $p
    call $mix
    local.set $p
    i64.trunc_sat_f64_u
    local.get $p
    call $mix
    local.set $p
    i64.extend_i32_u
    local.get $p
    call $mix
    local.set $p
    i64.extend_i32_u
    local.get $p
    call $mix
    local.set $p
    i64.extend_i32_u
    local.get $p
    call $mix
    call $mix
    call $mix
    call $mix
    call $mix)

  (func $run (export "run") (param $scale i32) (result i64)
    (local $x i64)
    (local.set $scale (i32.mul (local.get $scale) (i32.const 40000)))
    (block $done
      (loop $again
        (br_if $done (i32.eqz (local.get $scale)))
        (local.set $x (call $start (i64.add (local.get $x) (i64.extend_i32_u (local.get $scale)))))
        (local.set $scale (i32.sub (local.get $scale) (i32.const 1)))
        (br $again)))
    (local.get $x))

  ;; Prints the guest's name and the sum as 16 hexadecimal digits.
  (func $print (param $sum i64)
    (local $at i32)
    (local.set $at (i32.const 57))
    (loop $digit
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at)
        (i32.load8_u offset=16 (i32.wrap_i64 (i64.and (local.get $sum) (i64.const 15)))))
      (local.set $sum (i64.shr_u (local.get $sum) (i64.const 4)))
      (br_if $digit (i32.ne (local.get $at) (i32.const 41))))
    (i32.store (i32.const 0) (i32.const 32))
    (i32.store (i32.const 4) (i32.const 26))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))

  (func (export "_start") (call $print (call $run (i32.const 100))))
)
