;; Vectors: arguments and results of 16 bytes, on the stack too, and constants in
;; memory behind the code.
;; expect: 340
;; winch: with AVX
(module
  (func $add (param v128 v128 v128 v128 v128 v128 v128 v128 v128 v128) (result v128 v128)
    (i64x2.add (i64x2.add (local.get 0) (local.get 9)) (i64x2.add (local.get 5) (local.get 7)))
    (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 (local.get 8) (local.get 1)))
  (func $down (param $n i64) (param $v v128) (result v128)
    (if (i64.eqz (local.get $n)) (then (return (local.get $v))))
    (call $add
      (v128.const i64x2 1 2) (v128.const i64x2 3 4) (v128.const i64x2 5 6) (v128.const i64x2 7 8)
      (v128.const i64x2 9 10) (v128.const i64x2 11 12) (v128.const i64x2 13 14)
      (v128.const i64x2 15 16) (v128.const i64x2 17 18) (local.get $v))
    (i64x2.add)
    (local.set $v)
    (call $down (i64.sub (local.get $n) (i64.const 1)) (local.get $v)))
  (func (export "run") (result i64)
    (local $v v128)
    (local.set $v (call $down (i64.const 3) (v128.const i64x2 100 100)))
    (i64.add (i64x2.extract_lane 0 (local.get $v)) (i64.const 108))))
