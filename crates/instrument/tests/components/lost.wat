;; An allocation that makes more calls than there is room for events.
(component
  (component $callee
    (core module $main
      (memory (export "memory") 1)
      (func $tick)
      (func (export "realloc") (param i32 i32 i32 i32) (result i32)
        (local $left i32)
        (local.set $left (i32.const 5000))
        (loop $again
          (call $tick)
          (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (i32.const 64))
      (func (export "size") (param i32 i32) (result i32) (local.get 1)))
    (core instance $main (instantiate $main))
    (func (export "size") (param "words" string) (result u32)
      (canon lift (core func $main "size") (memory (core memory $main "memory"))
        (realloc (core func $main "realloc")))))
  (instance $callee (instantiate $callee))
  (component $caller
    (import "size" (func $size (param "words" string) (result u32)))
    (core module $libc (memory (export "memory") 1))
    (core instance $libc (instantiate $libc))
    (core func $size (canon lower (func $size) (memory (core memory $libc "memory"))))
    (core module $main
      (import "" "size" (func $size (param i32 i32) (result i32)))
      (func (export "run") (result i32) (call $size (i32.const 0) (i32.const 3))))
    (core instance $main (instantiate $main (with "" (instance (export "size" (func $size))))))
    (func (export "run") (result u32) (canon lift (core func $main "run"))))
  (instance $caller (instantiate $caller (with "size" (func $callee "size"))))
  (alias export $caller "run" (func $run))
  (export "run" (func $run)))
