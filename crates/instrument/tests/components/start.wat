;; Core start functions that call on while the component is instantiated, imports called
;; there, a table that is filled later (as tools do for imports that need a memory), and a
;; memory of 64 bits.
(component
  (import "demo:host/log@1.0.0" (instance $log
    (export "say" (func (param "words" string) (result u32)))))
  (core module $shim
    (type $say (func (param i32 i32) (result i32)))
    (table (export "table") 1 1 funcref)
    (func (export "say") (param i32 i32) (result i32)
      (call_indirect (type $say) (local.get 0) (local.get 1) (i32.const 0))))
  (core instance $shim (instantiate $shim))
  (core module $main
    (import "host" "say" (func $say (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (memory $wide i64 1)
    (data (i32.const 32) "started")
    (global $started (mut i32) (i32.const 0))
    (func $tick (global.set $started (i32.add (global.get $started) (i32.const 1))))
    (func $start (call $tick) (call $tick))
    (start $start)
    (func (export "run") (result i32)
      (i64.store $wide (i64.const 8) (i64.const 5))
      (i32.add (global.get $started) (call $say (i32.const 32) (i32.const 7)))))
  (core instance $main (instantiate $main (with "host" (instance $shim))))
  (alias core export $main "memory" (core memory $memory))
  (alias core export $shim "table" (core table $table))
  (alias export $log "say" (func $say))
  (core func $say (canon lower (func $say) (memory $memory)))
  (core module $fixups
    (import "" "say" (func $say (param i32 i32) (result i32)))
    (import "" "table" (table 1 1 funcref))
    (elem (i32.const 0) $say)
    (func $hello (drop (call $say (i32.const 32) (i32.const 7))))
    (start $hello))
  (core instance (instantiate $fixups (with "" (instance
    (export "say" (func $say)) (export "table" (table $table))))))
  (func (export "run") (result u32) (canon lift (core func $main "run"))))
