;; Calls to the host from several depths.
;; expect: 20
(module
  (import "host" "ping" (func $ping (param i64) (result i64)))
  (func $down (param i64) (result i64)
    (if (i64.eqz (local.get 0)) (then (return (i64.const 0))))
    (i64.add
      (call $ping (local.get 0))
      (call $down (i64.sub (local.get 0) (i64.const 1)))))
  (func (export "run") (result i64) (call $down (i64.const 5))))
