;; Calls by reference and through a table, and lazily made function references.
;; expect: 66
(module
  (type $unary (func (param i64) (result i64)))
  (table 3 3 funcref)
  (elem (i32.const 0) $first $second $third)
  (elem declare func $first)
  (func $first (type $unary) (i64.add (local.get 0) (i64.const 1)))
  (func $second (type $unary) (call_indirect (type $unary) (i64.add (local.get 0) (i64.const 10)) (i32.const 0)))
  (func $third (type $unary) (call_indirect (type $unary) (i64.add (local.get 0) (i64.const 20)) (i32.const 1)))
  (func (export "run") (result i64)
    (i64.add
      (call_indirect (type $unary) (i64.const 3) (i32.const 2))
      (call_indirect (type $unary) (i64.const 21) (i32.const 1)))))
