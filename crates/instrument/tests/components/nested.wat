;; Two components composed by a third, which has no core code of its own: `$app` calls
;; `$store`'s functions with strings. `$store` is instantiated twice, `$app` once, and one more
;; component around it has nothing to do with it.
(component
  (import "demo:host/log@1.0.0" (instance $log
    (export "say" (func (param "words" string) (result u32)))))

  (component $store
    (import "say" (func $say (param "words" string) (result u32)))
    (core module $libc
      (memory (export "memory") 1)
      (global $next (mut i32) (i32.const 256))
      (func (export "realloc") (param i32 i32 i32 i32) (result i32)
        (global.get $next)
        (global.set $next (i32.add (global.get $next) (local.get 3)))))
    (core instance $libc (instantiate $libc))
    (core func $say (canon lower (func $say) (memory (core memory $libc "memory"))))
    (core module $main
      (import "host" "say" (func $say (param i32 i32) (result i32)))
      (import "libc" "memory" (memory 1))
      (global $count (mut i32) (i32.const 0))
      (func (export "put") (param $at i32) (param $len i32) (result i32)
        (drop (call $say (local.get $at) (local.get $len)))
        (global.set $count (i32.add (global.get $count) (local.get $len)))
        (global.get $count)))
    (core instance $main (instantiate $main
      (with "host" (instance (export "say" (func $say))))
      (with "libc" (instance $libc))))
    (func $put (param "words" string) (result u32)
      (canon lift (core func $main "put") (memory (core memory $libc "memory"))
        (realloc (core func $libc "realloc"))))
    (instance $api (export "put" (func $put)))
    (export "demo:kept/words" (instance $api)))

  (component $app
    (import "first" (instance $first (export "put" (func (param "words" string) (result u32)))))
    (import "second" (instance $second (export "put" (func (param "words" string) (result u32)))))
    (core module $libc
      (memory (export "memory") 1)
      (data (i32.const 64) "one two"))
    (core instance $libc (instantiate $libc))
    (core func $first (canon lower (func $first "put") (memory (core memory $libc "memory"))))
    (core func $second (canon lower (func $second "put") (memory (core memory $libc "memory"))))
    (core module $main
      (import "" "first" (func $first (param i32 i32) (result i32)))
      (import "" "second" (func $second (param i32 i32) (result i32)))
      (func (export "run") (result i32)
        (i32.add
          (i32.add
            (call $first (i32.const 64) (i32.const 3))
            (call $second (i32.const 68) (i32.const 3)))
          (call $first (i32.const 64) (i32.const 7)))))
    (core instance $main (instantiate $main (with "" (instance
      (export "first" (func $first)) (export "second" (func $second))))))
    (func (export "run") (result u32) (canon lift (core func $main "run"))))

  (component $idle
    (type $t (record (field "a" u8)))
    (export "t" (type $t)))
  (instance (instantiate $idle))

  (alias export $log "say" (func $say))
  (instance $one (instantiate $store (with "say" (func $say))))
  (instance $two (instantiate $store (with "say" (func $say))))
  (alias export $one "demo:kept/words" (instance $first))
  (alias export $two "demo:kept/words" (instance $second))
  (instance $app (instantiate $app
    (with "first" (instance $first)) (with "second" (instance $second))))
  (alias export $app "run" (func $run))
  (export "run" (func $run)))
