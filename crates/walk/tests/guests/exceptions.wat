;; Exceptions through several frames: caught by tag, by reference, by any, thrown
;; again, with arguments on the stack in between.
;; expect: 345
;; winch: no
(module
  (tag $number (param i64))
  (tag $empty)
  (func $thrower (param $depth i64) (param $kind i64) (result i64)
    (if (i64.ne (local.get $depth) (i64.const 0))
      (then (return (i64.add (i64.const 1)
        (call $thrower (i64.sub (local.get $depth) (i64.const 1)) (local.get $kind))))))
    (if (i64.eq (local.get $kind) (i64.const 0)) (then (throw $number (i64.const 100))))
    (if (i64.eq (local.get $kind) (i64.const 1)) (then (throw $empty)))
    (i64.const 5))
  (func $catches (param $depth i64) (param $kind i64) (result i64)
    (block $on_number (result i64)
      (block $on_any
        (return
          (try_table (result i64) (catch $number $on_number) (catch_all $on_any)
            (call $thrower (local.get $depth) (local.get $kind)))))
      (return (i64.const 7))))
  (func $wide (param i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i64)
    (call $thrower (local.get 9) (local.get 10)))
  (func $throws_again (param $kind i64) (result i64)
    (local $caught exnref)
    (block $any (result exnref)
      (return
        (try_table (result i64) (catch_all_ref $any)
          (call $wide (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0)
            (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 3) (local.get $kind)))))
    (local.set $caught)
    (throw_ref (local.get $caught)))
  (func $catches_again (param $kind i64) (result i64)
    (block $on_number (result i64)
      (block $on_empty
        (return
          (try_table (result i64) (catch $number $on_number) (catch $empty $on_empty)
            (call $throws_again (local.get $kind)))))
      (return (i64.const 9))))
  (func (export "run") (result i64)
    (local $i i64) (local $sum i64)
    (loop $again
      (local.set $sum (i64.add (local.get $sum) (call $catches (i64.const 4) (local.get $i))))
      (local.set $sum (i64.add (local.get $sum) (call $catches_again (local.get $i))))
      (local.set $sum (i64.add (local.get $sum) (call $catches (i64.const 0) (local.get $i))))
      (local.set $i (i64.add (local.get $i) (i64.const 1)))
      (br_if $again (i64.lt_u (local.get $i) (i64.const 3))))
    (local.get $sum)))
