;; Tail calls through a table and through references.
;; expect: 321
;; winch: no
(module
  (type $few (func (param i64) (result i64)))
  (type $many (func (param i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i64)))
  (table 2 2 funcref)
  (elem (i32.const 0) $few $many)
  (elem declare func $by_reference $few)
  (func $few (type $few)
    (if (i64.eqz (local.get 0)) (then (return (i64.const 321))))
    (return_call_indirect (type $many) (local.get 0) (i64.const 1) (i64.const 2) (i64.const 3)
      (i64.const 4) (i64.const 5) (i64.const 6) (i64.const 7) (i64.const 8) (i64.const 9)
      (i64.const 10) (i64.const 11) (i32.const 1)))
  (func $many (type $many)
    (return_call_ref $few (i64.sub (local.get 0) (i64.const 1)) (ref.func $by_reference)))
  (func $by_reference (type $few)
    (return_call_indirect (type $few) (local.get 0) (i32.const 0)))
  (func $caller (param $x i64) (result i64) (call $few (local.get $x)))
  (func (export "run") (result i64) (call $caller (i64.const 6))))
