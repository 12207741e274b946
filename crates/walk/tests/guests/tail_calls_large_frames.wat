;; Tail callers that also spill, save registers and move a frame far down: more
;; than 128 bytes, so that the moves have four-byte displacements.
;; expect: 3403
;; winch: no
(module
  (type $wide (func
    (param i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64)
    (param i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64)
    (result i64)))
  (func $identity (param i64) (result i64) (local.get 0))
  (func $narrow (param $x i64) (result i64)
    (local $a i64) (local $b i64) (local $c i64) (local $d i64) (local $e i64) (local $f i64)
    (local.set $a (call $identity (i64.add (local.get $x) (i64.const 1))))
    (local.set $b (call $identity (i64.add (local.get $x) (i64.const 2))))
    (local.set $c (call $identity (i64.add (local.get $x) (i64.const 3))))
    (local.set $d (call $identity (i64.add (local.get $x) (i64.const 4))))
    (local.set $e (call $identity (i64.add (local.get $x) (i64.const 5))))
    (local.set $f (call $identity (i64.add (local.get $x) (i64.const 6))))
    (return_call $wide
      (local.get $a) (local.get $b) (local.get $c) (local.get $d) (local.get $e) (local.get $f)
      (local.get $a) (local.get $b) (local.get $c) (local.get $d) (local.get $e) (local.get $f)
      (local.get $a) (local.get $b) (local.get $c) (local.get $d) (local.get $e) (local.get $f)
      (local.get $a) (local.get $b) (local.get $c) (local.get $d) (local.get $e) (local.get $f)
      (local.get $a) (local.get $b) (local.get $c) (local.get $d) (local.get $e) (local.get $f)
      (local.get $a) (local.get $b) (local.get $c) (local.get $d) (local.get $e) (local.get $f)
      (local.get $a) (local.get $b) (local.get $c) (local.get $x)))
  (func $wide (type $wide)
    (if (i64.eqz (local.get 39))
      (then (return (i64.add (i64.const 3400) (call $identity (local.get 2))))))
    (return_call $narrow (i64.sub (call $identity (local.get 39)) (i64.const 1))))
  (func (export "run") (result i64) (call $narrow (i64.const 4))))
