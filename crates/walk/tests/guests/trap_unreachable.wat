;; A trap some frames deep, by an instruction that is not allowed.
;; expect: trap
(module
  (func $down (param i64) (result i64)
    (if (i64.eqz (local.get 0)) (then (unreachable)))
    (i64.add (i64.const 1) (call $down (i64.sub (local.get 0) (i64.const 1)))))
  (func (export "run") (result i64) (call $down (i64.const 5))))
