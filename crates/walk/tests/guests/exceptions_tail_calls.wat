;; A tail call leaves the handler of the frame that it replaces: the exception is
;; caught further out.
;; expect: 1042
;; winch: no
(module
  (tag $number (param i64))
  (func $throws (param i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i64)
    (throw $number (i64.add (local.get 0) (local.get 8))))
  (func $leaves (param $x i64) (result i64)
    (return_call $throws (local.get $x) (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0)
      (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 2)))
  (func (export "run") (result i64)
    (block $on_number (result i64)
      (return
        (try_table (result i64) (catch $number $on_number)
          (call $leaves (i64.const 40)))))
    (i64.add (i64.const 1000))))
