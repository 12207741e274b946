;; Allocation of structures and arrays: library calls with references that live on
;; the stack.
;; expect: 45
;; winch: no
(module
  (type $node (struct (field i64) (field (ref null $node))))
  (func $list (param $n i64) (result (ref null $node))
    (if (result (ref null $node)) (i64.eqz (local.get $n))
      (then (ref.null $node))
      (else (struct.new $node (local.get $n) (call $list (i64.sub (local.get $n) (i64.const 1)))))))
  (func $sum (param $node (ref null $node)) (result i64)
    (if (result i64) (ref.is_null (local.get $node))
      (then (i64.const 0))
      (else (i64.add
        (struct.get $node 0 (local.get $node))
        (call $sum (struct.get $node 1 (local.get $node)))))))
  (func (export "run") (result i64) (call $sum (call $list (i64.const 9)))))
