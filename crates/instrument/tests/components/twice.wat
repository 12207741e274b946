;; One core module instantiated three times, once of them in a nested component that reaches
;; it by an outer alias; instances made of exports of all kinds; core types and modules of
;; the outer component used inside.
(component
  (core type $type (func (param i32) (result i32)))
  (core type $shape (module
    (export "bump" (func (param i32) (result i32)))))
  (core module $counter
    (import "by" "step" (global $step i32))
    (global $count (export "count") (mut i32) (i32.const 0))
    (table (export "table") 1 funcref)
    (memory (export "memory") 1)
    (memory (export "other") 1)
    (elem (i32.const 0) $bump)
    (func $bump (export "bump") (param i32) (result i32)
      (global.set $count (i32.add (global.get $count) (i32.mul (local.get 0) (global.get $step))))
      (global.get $count)))
  (core module $steps
    (global (export "one") i32 (i32.const 1))
    (global (export "ten") i32 (i32.const 10)))
  (core instance $steps (instantiate $steps))
  (core instance $one (instantiate $counter
    (with "by" (instance (export "step" (global $steps "one"))))))
  (core instance $ten (instantiate $counter
    (with "by" (instance (export "step" (global $steps "ten"))))))
  (core module $user
    (import "a" "bump" (func $a (param i32) (result i32)))
    (import "b" "bump" (func $b (param i32) (result i32)))
    (import "b" "table" (table 1 funcref))
    (import "b" "memory" (memory 1))
    (import "b" "count" (global $count (mut i32)))
    (type $type (func (param i32) (result i32)))
    (func (export "run") (result i32)
      (drop (call $a (i32.const 3)))
      (drop (call $b (i32.const 4)))
      (drop (call_indirect (type $type) (i32.const 5) (i32.const 0)))
      (i32.add (call $a (i32.const 0)) (global.get $count))))
  (core instance $all
    (export "bump" (func $ten "bump"))
    (export "table" (table $ten "table"))
    (export "memory" (memory $ten "memory"))
    (export "count" (global $ten "count")))
  (core instance $user (instantiate $user (with "a" (instance $one)) (with "b" (instance $all))))
  (type $number u32)
  (component $inner
    (alias outer 1 $counter (core module $counter))
    (alias outer 1 $number (type $number))
    (type $answer (func (result $number)))
    (type $shape (instance
      (alias outer 1 $answer (type $a))
      (alias outer 2 $number (type $n))
      (type $more (tuple $n string))
      (export "answer" (func (type $a)))))
    (core module $hundred (global (export "step") i32 (i32.const 100)))
    (core instance $hundred (instantiate $hundred))
    (core instance $counter (instantiate $counter (with "by" (instance $hundred))))
    (core module $user
      (import "c" "bump" (func $bump (param i32) (result i32)))
      (func (export "run") (result i32) (call $bump (i32.const 2))))
    (core instance $user (instantiate $user (with "c" (instance $counter))))
    (func (export "run") (type $answer) (canon lift (core func $user "run"))))
  (component $between
    (alias outer 1 $inner (component $inner))
    (instance $inner (instantiate $inner))
    (alias export $inner "run" (func $run))
    (export "run" (func $run)))
  (instance $between (instantiate $between))
  (alias export $between "run" (func $nested))
  (export "nested" (func $nested))
  (func (export "run") (result $number) (canon lift (core func $user "run"))))
