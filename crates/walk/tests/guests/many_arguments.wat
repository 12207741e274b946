;; Many arguments and many results: callees pop their arguments, callers read results
;; from the stack.
;; expect: 455
(module
  (func $spread (param i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 f64 f32 i32)
    (result i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 f64 f32 i32)
    (local.get 9) (local.get 8) (local.get 7) (local.get 6) (local.get 5)
    (local.get 4) (local.get 3) (local.get 2) (local.get 1) (local.get 0)
    (local.get 10) (local.get 11) (local.get 12))
  (func $sum (param i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 f64 f32 i32) (result i64)
    (i64.add (i64.add (i64.add (local.get 0) (local.get 1)) (i64.add (local.get 2) (local.get 3)))
      (i64.add (i64.add (i64.add (local.get 4) (local.get 5)) (i64.add (local.get 6) (local.get 7)))
        (i64.add (i64.add (local.get 8) (local.get 9))
          (i64.add (i64.trunc_f64_s (local.get 10))
            (i64.add (i64.trunc_f32_s (local.get 11)) (i64.extend_i32_s (local.get 12))))))))
  (func $deeper (param $depth i64) (result i64)
    (if (i64.eqz (local.get $depth)) (then (return (i64.const 0))))
    (i64.add
      (call $deeper (i64.sub (local.get $depth) (i64.const 1)))
      (call $sum (call $spread
        (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4) (i64.const 5) (i64.const 6)
        (i64.const 7) (i64.const 8) (i64.const 9) (i64.const 10)
        (f64.const 11) (f32.const 12) (i32.const 13)))))
  (func (export "run") (result i64) (call $deeper (i64.const 5))))
