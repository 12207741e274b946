;; Functions that need no stack at all, some of them empty, and a start at the very
;; first instruction of the text.
;; expect: 3
(module
  (func $empty)
  (func $three (result i64) (i64.const 3))
  (func (export "run") (result i64)
    (call $empty) (call $empty) (call $three) (call $empty)))
