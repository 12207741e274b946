;; A component without WASI: a core module of two functions behind a component's types. `churn`
;; takes a number of steps and returns the end of the chain; `describe` returns a string, so the
;; engine reads the guest's memory.
(component
  (core module $inner
    (memory (export "memory") 1)
    (data (i32.const 8) "\18\00\00\00\0d\00\00\00")
    (data (i32.const 24) "component-add")

    (func $step (param $x i64) (result i64)
      (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
      (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
      (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))

    (func $churn (export "churn") (param $steps i32) (result i64)
      (local $x i64)
      (local.set $x (i64.const 88172645463325252))
      (block $done
        (loop $again
          (br_if $done (i32.eqz (local.get $steps)))
          (local.set $x (call $step (local.get $x)))
          (local.set $steps (i32.sub (local.get $steps) (i32.const 1)))
          (br $again)))
      (local.get $x))

    (func $add (export "add") (param i32 i32) (result i32)
      (i32.add (local.get 0) (local.get 1)))

    (func $describe (export "describe") (result i32) (i32.const 8)))
  (core instance $inner (instantiate $inner))
  (func (export "churn") (param "steps" u32) (result u64)
    (canon lift (core func $inner "churn")))
  (func (export "add") (param "a" s32) (param "b" s32) (result s32)
    (canon lift (core func $inner "add")))
  (alias core export $inner "memory" (core memory $memory))
  (func (export "describe") (result string)
    (canon lift (core func $inner "describe") (memory $memory))))
