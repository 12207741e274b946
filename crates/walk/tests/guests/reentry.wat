;; The host calls the guest again, three activations deep.
;; expect: 106
(module
  (import "host" "again" (func $host_again (param i64) (result i64)))
  (func $leaf (param i64) (result i64) (i64.add (local.get 0) (i64.const 100)))
  (func $again (export "again") (param i64) (result i64)
    (if (i64.eqz (local.get 0)) (then (return (call $leaf (i64.const 0)))))
    (i64.add (local.get 0) (call $host_again (i64.sub (local.get 0) (i64.const 1)))))
  (func (export "run") (result i64) (call $again (i64.const 3))))
