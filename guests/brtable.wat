;; br_table: an interpreter of byte code that branches through a table for every instruction; the byte
;; code is Euclid's algorithm over many pairs. The work is in one function; the ways through it differ.
;;
;; `run` takes a scale and returns a checksum; `_start` runs it at 100 and prints the sum.
(module $brtable
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "0123456789abcdef")
  (data (i32.const 32) "brtable ----------------\0a")

  ;; Each instruction is one byte, and a second one where it needs a target.
  ;; 0 halt  1 if b = 0 go to  2 (a, b) = (b, a mod b)  3 sum += a  4 next pair  5 go to
  ;; 6 if no pair is left go to  7 to 9 mix the sum in three ways
  (data (i32.const 256) "\06\0e" "\04" "\01\08" "\02" "\05\03" "\03" "\07" "\08" "\09" "\05\00" "\00")

  (func $interpret (param $pairs i32) (param $sum i64) (result i64)
    (local $pc i32) (local $a i32) (local $b i32) (local $rest i32)
    (loop $next
      (block $nine (block $eight (block $seven (block $six (block $five (block $four
      (block $three (block $two (block $one (block $zero
        (br_table $zero $one $two $three $four $five $six $seven $eight $nine
          (i32.load8_u offset=256 (local.get $pc))))
        ;; 0: halt
        (return (local.get $sum)))
      ;; 1: if b = 0 go to
      (local.set $pc
        (select
          (i32.load8_u offset=257 (local.get $pc))
          (i32.add (local.get $pc) (i32.const 2))
          (i32.eqz (local.get $b))))
      (br $next))
      ;; 2: one step of Euclid's
      (local.set $rest (i32.rem_u (local.get $a) (local.get $b)))
      (local.set $a (local.get $b))
      (local.set $b (local.get $rest))
      (local.set $pc (i32.add (local.get $pc) (i32.const 1)))
      (br $next))
      ;; 3: sum += a
      (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (local.get $a))))
      (local.set $pc (i32.add (local.get $pc) (i32.const 1)))
      (br $next))
      ;; 4: next pair
      (local.set $pairs (i32.sub (local.get $pairs) (i32.const 1)))
      (local.set $a (i32.add (i32.mul (local.get $pairs) (i32.const 40503)) (i32.const 1)))
      (local.set $b (i32.xor (i32.mul (local.get $pairs) (i32.const 2654435)) (i32.const 77)))
      (local.set $pc (i32.add (local.get $pc) (i32.const 1)))
      (br $next))
      ;; 5: go to
      (local.set $pc (i32.load8_u offset=257 (local.get $pc)))
      (br $next))
      ;; 6: if no pair is left go to
      (local.set $pc
        (select
          (i32.load8_u offset=257 (local.get $pc))
          (i32.add (local.get $pc) (i32.const 2))
          (i32.eqz (local.get $pairs))))
      (br $next))
      ;; 7, 8, 9: mix the sum
      (local.set $sum (i64.mul (local.get $sum) (i64.const 6364136223846793005)))
      (local.set $pc (i32.add (local.get $pc) (i32.const 1)))
      (br $next))
      (local.set $sum (i64.rotl (local.get $sum) (i64.const 23)))
      (local.set $pc (i32.add (local.get $pc) (i32.const 1)))
      (br $next))
      (local.set $sum (i64.add (local.get $sum) (i64.const 12345)))
      (local.set $pc (i32.add (local.get $pc) (i32.const 1)))
      (br $next))
    (unreachable))

  (func $run (export "run") (param $scale i32) (result i64)
    (local $sum i64)
    (block $done
      (loop $again
        (br_if $done (i32.eqz (local.get $scale)))
        (local.set $sum (call $interpret (i32.const 120000) (local.get $sum)))
        (local.set $scale (i32.sub (local.get $scale) (i32.const 1)))
        (br $again)))
    (local.get $sum))

  ;; Prints the guest's name and the sum as 16 hexadecimal digits.
  (func $print (param $sum i64)
    (local $at i32)
    (local.set $at (i32.const 56))
    (loop $digit
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at)
        (i32.load8_u offset=16 (i32.wrap_i64 (i64.and (local.get $sum) (i64.const 15)))))
      (local.set $sum (i64.shr_u (local.get $sum) (i64.const 4)))
      (br_if $digit (i32.ne (local.get $at) (i32.const 40))))
    (i32.store (i32.const 0) (i32.const 32))
    (i32.store (i32.const 4) (i32.const 25))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))

  (func (export "_start") (call $print (call $run (i32.const 100))))
)
