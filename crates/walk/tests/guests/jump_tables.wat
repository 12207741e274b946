;; Jump tables in the middle of functions, forward, backward and large, with code
;; after them and calls in their arms.
;; expect: 4282
(module
  (func $leaf (param i64) (result i64) (i64.add (local.get 0) (i64.const 1)))
  (func $forward (param $x i32) (result i64)
    (block $default (block $4 (block $3 (block $2 (block $1 (block $0
      (br_table $0 $1 $2 $3 $4 $default (local.get $x)))
      (return (call $leaf (i64.const 100))))
      (return (i64.const 201)))
      (return (call $leaf (i64.const 300))))
      (return (i64.const 401)))
      (return (call $leaf (i64.const 500))))
    (call $leaf (i64.const 600)))
  ;; All targets are loops that were entered before: every entry leads backward.
  (func $backward (param $n i32) (result i64)
    (local $sum i64)
    (loop $a
      (local.set $sum (call $leaf (local.get $sum)))
      (loop $b
        (local.set $sum (i64.add (local.get $sum) (i64.const 3)))
        (loop $c
          (local.set $sum (i64.add (local.get $sum) (i64.const 5)))
          (if (i32.eqz (local.get $n)) (then (return (call $leaf (local.get $sum)))))
          (local.set $n (i32.sub (local.get $n) (i32.const 1)))
          (br_table $a $b $c $a $b $c (i32.rem_u (local.get $n) (i32.const 5))))))
    (unreachable))
  (func (export "run") (result i64)
    (local $i i32) (local $sum i64)
    (loop $again
      (local.set $sum (i64.add (local.get $sum) (call $forward (local.get $i))))
      (local.set $sum (i64.add (local.get $sum) (call $backward (local.get $i))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (i32.const 9))))
    (local.get $sum)))
