;; Memory: grows it page by page from 1 to 1,025 pages (64 MB), fills, copies and reads it. Filling,
;; copying and growing are calls into the engine itself, which no import shows.
;;
;; `run` takes a scale and returns a checksum; `_start` runs it at 100 and prints the sum.
(module $memory
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "0123456789abcdef")
  (data (i32.const 32) "memory ----------------\0a")

  (func $mix (param $sum i64) (param $value i64) (result i64)
    (local.set $sum
      (i64.mul (i64.xor (local.get $sum) (local.get $value)) (i64.const 0x9e3779b97f4a7c15)))
    (i64.xor (local.get $sum) (i64.shr_u (local.get $sum) (i64.const 29))))

  (func $fill (param $from i32) (param $length i32) (param $value i32)
    (memory.fill (local.get $from) (local.get $value) (local.get $length)))

  (func $copy (param $to i32) (param $from i32) (param $length i32)
    (memory.copy (local.get $to) (local.get $from) (local.get $length)))

  ;; Adds up every eighth word.
  (func $read (param $from i32) (param $length i32) (result i64)
    (local $end i32) (local $sum i64)
    (local.set $end (i32.add (local.get $from) (local.get $length)))
    (loop $next
      (local.set $sum (i64.add (local.get $sum) (i64.load (local.get $from))))
      (br_if $next (i32.lt_u (local.tee $from (i32.add (local.get $from) (i32.const 64))) (local.get $end))))
    (local.get $sum))

  ;; Grows by one page while there are fewer than 1,025; returns where the last page starts.
  (func $grow (result i32)
    (if (i32.lt_u (memory.size) (i32.const 1025))
      (then (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable)))))
    (i32.shl (i32.sub (memory.size) (i32.const 1)) (i32.const 16)))

  (func $run (export "run") (param $scale i32) (result i64)
    (local $sum i64) (local $last i32) (local $turn i32)
    (local.set $scale (i32.mul (local.get $scale) (i32.const 6000)))
    (block $done
      (loop $again
        (br_if $done (i32.eq (local.get $turn) (local.get $scale)))
        (local.set $last (call $grow))
        (call $fill (local.get $last) (i32.const 65536) (local.get $turn))
        (call $copy (i32.add (local.get $last) (i32.const 100)) (local.get $last) (i32.const 30000))
        (local.set $sum (call $mix (local.get $sum) (call $read (local.get $last) (i32.const 65536))))
        (local.set $turn (i32.add (local.get $turn) (i32.const 1)))
        (br $again)))
    (local.get $sum))

  ;; Prints the guest's name and the sum as 16 hexadecimal digits.
  (func $print (param $sum i64)
    (local $at i32)
    (local.set $at (i32.const 55))
    (loop $digit
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at)
        (i32.load8_u offset=16 (i32.wrap_i64 (i64.and (local.get $sum) (i64.const 15)))))
      (local.set $sum (i64.shr_u (local.get $sum) (i64.const 4)))
      (br_if $digit (i32.ne (local.get $at) (i32.const 39))))
    (i32.store (i32.const 0) (i32.const 32))
    (i32.store (i32.const 4) (i32.const 24))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))

  (func (export "_start") (call $print (call $run (i32.const 100))))
)
