;; Strings in and out: `greet` returns a greeting for a name, after it has said the name to the
;; host. Its parameter comes by `realloc`, its result goes by `post-return`.
(component
  (import "demo:host/log@1.0.0" (instance $log
    (export "say" (func (param "words" string) (result u32)))))

  (core module $libc
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 1024))
    (func $bump (param i32) (result i32)
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (local.get 0))))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (call $bump (local.get 3))))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))

  (alias export $log "say" (func $say))
  (core func $say (canon lower (func $say) (memory $memory)))

  (core module $main
    (import "libc" "memory" (memory 1))
    (import "host" "say" (func $say (param i32 i32) (result i32)))
    (data (i32.const 16) "hello, ")
    (global $freed (mut i32) (i32.const 0))
    (func $copy (param $to i32) (param $from i32) (param $len i32)
      (memory.copy (local.get $to) (local.get $from) (local.get $len)))
    (func $greet (export "greet") (param $at i32) (param $len i32) (result i32)
      (drop (call $say (local.get $at) (local.get $len)))
      (call $copy (i32.const 512) (i32.const 16) (i32.const 7))
      (call $copy (i32.const 519) (local.get $at) (local.get $len))
      (i32.store (i32.const 8) (i32.const 512))
      (i32.store (i32.const 12) (i32.add (local.get $len) (i32.const 7)))
      (i32.const 8))
    (func $free (param i32)
      (global.set $freed (i32.add (global.get $freed) (i32.const 1))))
    (func (export "free") (param i32) (call $free (local.get 0)))
    (func (export "freed") (result i32) (global.get $freed)))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance (export "say" (func $say))))))
  (func $greet (param "name" string) (result string)
    (canon lift (core func $main "greet") (memory $memory) (realloc (core func $realloc))
      (post-return (core func $main "free"))))
  (func $freed (result u32) (canon lift (core func $main "freed")))
  (instance $exported (export "greet" (func $greet)))
  (export "demo:host/greeter@1.0.0" (instance $exported))
  (export "freed" (func $freed)))
