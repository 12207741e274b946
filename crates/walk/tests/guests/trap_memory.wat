;; A trap by an access out of bounds, which is a fault.
;; expect: trap
(module
  (memory 1)
  (func $down (param i32) (result i64)
    (i64.add
      (i64.load (local.get 0))
      (call $down (i32.add (local.get 0) (i32.const 30000)))))
  (func (export "run") (result i64) (call $down (i32.const 0))))
