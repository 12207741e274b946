;; A trap raised in a library call, not by an instruction.
;; expect: trap
(module
  (memory 1)
  (func $down (param i64)
    (if (i64.eqz (local.get 0))
      (then (memory.fill (i32.const 65530) (i32.const 0) (i32.const 9))))
    (call $down (i64.sub (local.get 0) (i64.const 1))))
  (func (export "run") (call $down (i64.const 3))))
