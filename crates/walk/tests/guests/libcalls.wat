;; What the engine does in its own functions: growing and filling, through the
;; builtin trampolines.
;; expect: 17
(module
  (memory 1 5)
  (table $t 2 8 funcref)
  (elem declare func $leaf)
  (func $leaf)
  (func $work (result i64)
    (drop (memory.grow (i32.const 1)))
    (memory.fill (i32.const 0) (i32.const 7) (i32.const 100))
    (memory.copy (i32.const 200) (i32.const 0) (i32.const 50))
    (drop (table.grow $t (ref.func $leaf) (i32.const 2)))
    (table.fill $t (i32.const 0) (ref.func $leaf) (i32.const 2))
    (table.copy (i32.const 2) (i32.const 0) (i32.const 1))
    (i64.add
      (i64.extend_i32_u (memory.size))
      (i64.add
        (i64.extend_i32_u (table.size $t))
        (i64.extend_i32_u (i32.add (i32.load8_u (i32.const 249)) (i32.load8_u (i32.const 250)))))))
  (func (export "run") (result i64) (i64.add (call $work) (i64.const 4))))
