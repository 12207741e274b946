;; Atomics, which are loops where the machine has no instruction for them.
;; expect: 21
(module
  (memory 1)
  (func $update (param i64) (result i64)
    (drop (i64.atomic.rmw.xor (i32.const 8) (local.get 0)))
    (drop (i64.atomic.rmw.and (i32.const 8) (i64.const 255)))
    (i64.atomic.rmw.add (i32.const 0) (local.get 0)))
  (func (export "run") (result i64)
    (local $i i64)
    (loop $again
      (drop (call $update (local.get $i)))
      (local.set $i (i64.add (local.get $i) (i64.const 1)))
      (br_if $again (i64.lt_u (local.get $i) (i64.const 7))))
    (i64.atomic.load (i32.const 0))))
