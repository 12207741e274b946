;; A host function fails below some frames.
;; expect: trap
(module
  (import "host" "fail" (func $fail (param i64)))
  (func $down (param i64)
    (if (i64.eqz (local.get 0)) (then (call $fail (i64.const 0))))
    (call $down (i64.sub (local.get 0) (i64.const 1))))
  (func (export "run") (call $down (i64.const 3))))
