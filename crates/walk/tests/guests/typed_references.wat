;; Typed function references, and a null one that traps in the end.
;; expect: trap
;; winch: no
(module
  (type $unary (func (param i64) (result i64)))
  (elem declare func $first $second)
  (func $first (type $unary) (i64.add (local.get 0) (i64.const 1)))
  (func $second (type $unary) (call_ref $unary (local.get 0) (ref.func $first)))
  (func $maybe (param (ref null $unary)) (result i64) (call_ref $unary (i64.const 1) (local.get 0)))
  (func (export "run") (result i64)
    (i64.add (call $maybe (ref.func $second)) (call $maybe (ref.null $unary)))))
