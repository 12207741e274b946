;; Strings through a memory of 64 bits: pointers, lengths and `realloc` are of `i64`.
(component
  (import "say" (func $say (param "words" string) (result string)))
  (core module $libc
    (memory (export "memory") i64 1)
    (func (export "realloc") (param i64 i64 i64 i64) (result i64) (i64.const 64)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
  (core func $say (canon lower (func $say) (memory $memory) (realloc $realloc)))
  (core module $main
    (import "" "say" (func $say (param i64 i64 i64)))
    (func (export "run") (param i64 i64) (result i64)
      (call $say (local.get 0) (local.get 1) (i64.const 8))
      (i64.const 8))
    (func (export "clean") (param i64)))
  (core instance $main (instantiate $main (with "" (instance (export "say" (func $say))))))
  (func (export "run") (param "words" string) (result string)
    (canon lift (core func $main "run") (memory $memory) (realloc $realloc)
      (post-return (core func $main "clean")))))
