;; A core module and a component that leave as values, and another module that only stays.
(component
  (core module $leaves (func (export "f") (result i32) (i32.const 1)))
  (component $inner
    (core module $m (func (export "g")))
    (core instance (instantiate $m)))
  (core module $stays (func (export "h") (result i32) (i32.const 2)))
  (core instance $i (instantiate $stays))
  (func $h (result u32) (canon lift (core func $i "h")))
  (export "h" (func $h))
  (export "leaves" (core module $leaves))
  (export "inner" (component $inner)))
