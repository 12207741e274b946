;; Call-heavy: the plain recursive Fibonacci, and nothing else.
;;
;; `run` takes a scale and returns a checksum; `_start` runs it at 100 and prints the sum.
(module $calls
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "0123456789abcdef")
  (data (i32.const 32) "calls ----------------\0a")

  (func $mix (param $sum i64) (param $value i64) (result i64)
    (local.set $sum
      (i64.mul (i64.xor (local.get $sum) (local.get $value)) (i64.const 0x9e3779b97f4a7c15)))
    (i64.xor (local.get $sum) (i64.shr_u (local.get $sum) (i64.const 29))))

  (func $fib (param $n i32) (result i32)
    (if (result i32) (i32.lt_u (local.get $n) (i32.const 2))
      (then (local.get $n))
      (else
        (i32.add
          (call $fib (i32.sub (local.get $n) (i32.const 1)))
          (call $fib (i32.sub (local.get $n) (i32.const 2)))))))

  (func $run (export "run") (param $scale i32) (result i64)
    (local $sum i64)
    (block $done
      (loop $again
        (br_if $done (i32.eqz (local.get $scale)))
        (local.set $sum (call $mix (local.get $sum)
          (i64.extend_i32_u (call $fib (i32.add (i32.const 30) (i32.and (local.get $scale) (i32.const 1)))))))
        (local.set $scale (i32.sub (local.get $scale) (i32.const 1)))
        (br $again)))
    (local.get $sum))

  ;; Prints the guest's name and the sum as 16 hexadecimal digits.
  (func $print (param $sum i64)
    (local $at i32)
    (local.set $at (i32.const 54))
    (loop $digit
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at)
        (i32.load8_u offset=16 (i32.wrap_i64 (i64.and (local.get $sum) (i64.const 15)))))
      (local.set $sum (i64.shr_u (local.get $sum) (i64.const 4)))
      (br_if $digit (i32.ne (local.get $at) (i32.const 38))))
    (i32.store (i32.const 0) (i32.const 32))
    (i32.store (i32.const 4) (i32.const 23))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))

  (func (export "_start") (call $print (call $run (i32.const 100))))
)
