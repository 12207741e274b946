;; A trap by division by zero.
;; expect: trap
(module
  (func $down (param i64) (result i64)
    (i64.add
      (i64.div_u (i64.const 10) (local.get 0))
      (call $down (i64.sub (local.get 0) (i64.const 1)))))
  (func (export "run") (result i64) (call $down (i64.const 5))))
