;; Tail calls between functions with the same, with more and with fewer arguments,
;; on the stack and in registers, below ordinary calls.
;; expect: 1012
;; winch: no
(module
  (type $one (func (param i64) (result i64)))
  (type $ten (func (param i64 i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i64)))
  (type $seventeen (func (param i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i64)))
  (func $one (type $one)
    (if (i64.eqz (local.get 0)) (then (return (i64.const 1000))))
    (return_call $ten (local.get 0) (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)
      (i64.const 5) (i64.const 6) (i64.const 7) (i64.const 8) (i64.const 9)))
  (func $ten (type $ten)
    (return_call $seventeen (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4)
      (local.get 5) (local.get 6) (local.get 7) (local.get 8) (local.get 9)
      (i64.const 10) (i64.const 11) (i64.const 12) (i64.const 13) (i64.const 14) (i64.const 15) (i64.const 16)))
  (func $seventeen (type $seventeen)
    (if (i64.eq (local.get 0) (i64.const 3))
      (then
        (return_call $ten (i64.const 2) (local.get 16) (local.get 15) (local.get 14) (local.get 13)
          (local.get 12) (local.get 11) (local.get 10) (local.get 9) (local.get 8))))
    (return_call $one (i64.sub (local.get 0) (i64.const 1))))
  ;; The same number of arguments: no copying.
  (func $even (param i64) (result i64)
    (if (result i64) (i64.eqz (local.get 0))
      (then (i64.const 1))
      (else (return_call $odd (i64.sub (local.get 0) (i64.const 1))))))
  (func $odd (param i64) (result i64)
    (if (result i64) (i64.eqz (local.get 0))
      (then (i64.const 0))
      (else (return_call $even (i64.sub (local.get 0) (i64.const 1))))))
  ;; Calls with stack arguments before and after a tail call's own.
  (func $below (param $depth i64) (result i64)
    (if (i64.eqz (local.get $depth)) (then (return (call $one (i64.const 5)))))
    (i64.add (i64.const 1)
      (i64.add (call $even (local.get $depth)) (call $below (i64.sub (local.get $depth) (i64.const 1))))))
  (func (export "run") (result i64) (call $below (i64.const 8))))
