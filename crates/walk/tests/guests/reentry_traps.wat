;; The host calls the guest again, which traps; the outer guest goes on.
;; expect: 41
(module
  (import "host" "try_again" (func $try_again (param i64) (result i64)))
  (func $again (export "again") (param i64) (result i64)
    (if (i64.eqz (local.get 0)) (then (unreachable)))
    (i64.add (i64.const 40)
      (call $again (i64.sub (local.get 0) (i64.const 1)))))
  (func $outer (param i64) (result i64) (i64.add (local.get 0) (call $try_again (i64.const 2))))
  (func (export "run") (result i64) (call $outer (i64.const 42))))
