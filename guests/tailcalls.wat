;; Tail calls: return_call between two functions, and return_call_indirect through a table in which
;; each callee takes more arguments than its caller (1, then 9, then 22), so the area for arguments on
;; the stack must grow and shrink while the frame is replaced. Needs the tail-call proposal.
;;
;; `run` takes a scale and returns a checksum; `_start` runs it at 100 and prints the sum.
(module $tailcalls
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "0123456789abcdef")
  (data (i32.const 32) "tailcalls ----------------\0a")

  (func $mix (param $sum i64) (param $value i64) (result i64)
    (local.set $sum
      (i64.mul (i64.xor (local.get $sum) (local.get $value)) (i64.const 0x9e3779b97f4a7c15)))
    (i64.xor (local.get $sum) (i64.shr_u (local.get $sum) (i64.const 29))))

  (type $one (func (param i64) (result i64)))
  (type $nine (func (param i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i64)))
  (type $many (func (param i32 i64 i32 i64 i32 i64 i32 i64 i32 i64 i32 i64 i32 i64 i32 i64 i32 i64 f64 f64 f32 i64)
    (result i64)))
  (table 3 3 funcref)
  (elem (i32.const 0) $narrow $wide $wider)

  ;; Two functions that call each other to the end: the depth of the stack stays the same.
  (func $even (param $n i32) (param $x i64) (result i64)
    (if (i32.eqz (local.get $n)) (then (return (local.get $x))))
    (return_call $odd
      (i32.sub (local.get $n) (i32.const 1))
      (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13)))))
  (func $odd (param $n i32) (param $x i64) (result i64)
    (if (i32.eqz (local.get $n)) (then (return (i64.const -1))))
    (return_call $even
      (i32.sub (local.get $n) (i32.const 1))
      (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7)))))

  ;; The low half of $x counts the rounds that are left; 1 argument, then 9, then 22, then 1 again.
  (func $narrow (type $one) (param $x i64) (result i64)
    (if (i64.eqz (i64.and (local.get $x) (i64.const 0xffff)))
      (then (return (local.get $x))))
    (return_call_indirect (type $nine)
      (local.get $x) (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4) (i64.const 5)
      (i64.const 6) (i64.const 7) (i64.shr_u (local.get $x) (i64.const 16))
      (i32.const 1)))
  (func $wide (type $nine)
    (param $x i64) (param $b i64) (param $c i64) (param $d i64) (param $e i64) (param $f i64)
    (param $g i64) (param $h i64) (param $high i64) (result i64)
    (return_call_indirect (type $many)
      (i32.const 1) (local.get $x) (i32.const 2) (local.get $b) (i32.const 3) (local.get $c)
      (i32.const 4) (local.get $d) (i32.const 5) (local.get $e) (i32.const 6) (local.get $f)
      (i32.const 7) (local.get $g) (i32.const 8) (local.get $h) (i32.const 9) (local.get $high)
      (f64.const 2) (f64.convert_i64_u (i64.and (local.get $high) (i64.const 255))) (f32.const 0.5)
      (i64.mul (local.get $high) (i64.const 6364136223846793005))
      (i32.const 2)))
  (func $wider (type $many)
    (param i32) (param $x i64) (param i32 i64 i32 i64 i32 i64 i32 i64 i32 i64 i32 i64 i32 i64 i32)
    (param $high i64) (param $two f64) (param $low f64) (param $half f32) (param $product i64) (result i64)
    (return_call_indirect (type $one)
      (i64.or
        (i64.sub (i64.and (local.get $x) (i64.const 0xffff)) (i64.const 1))
        (i64.shl
          (i64.add
            (i64.xor (local.get $product) (i64.shr_u (local.get $product) (i64.const 31)))
            (i64.trunc_sat_f64_u
              (f64.mul (f64.mul (local.get $low) (local.get $two)) (f64.promote_f32 (local.get $half)))))
          (i64.const 16)))
      (i32.const 0)))

  ;; Ordinary calls above the chain of tail calls, so there are callers that must not be lost.
  (func $nested (param $depth i32) (param $x i64) (result i64)
    (if (i32.eqz (local.get $depth))
      (then
        (return (call $mix
          (call $even (i32.const 20000) (local.get $x))
          (call $narrow (i64.or (local.get $x) (i64.const 0xffff)))))))
    (i64.add (call $nested (i32.sub (local.get $depth) (i32.const 1)) (local.get $x)) (i64.const 1)))

  (func $run (export "run") (param $scale i32) (result i64)
    (local $x i64)
    (local.set $x (i64.const 88172645463325252))
    (local.set $scale (i32.mul (local.get $scale) (i32.const 16)))
    (block $done
      (loop $again
        (br_if $done (i32.eqz (local.get $scale)))
        (local.set $x (call $nested (i32.const 5) (local.get $x)))
        (local.set $scale (i32.sub (local.get $scale) (i32.const 1)))
        (br $again)))
    (local.get $x))

  ;; Prints the guest's name and the sum as 16 hexadecimal digits.
  (func $print (param $sum i64)
    (local $at i32)
    (local.set $at (i32.const 58))
    (loop $digit
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at)
        (i32.load8_u offset=16 (i32.wrap_i64 (i64.and (local.get $sum) (i64.const 15)))))
      (local.set $sum (i64.shr_u (local.get $sum) (i64.const 4)))
      (br_if $digit (i32.ne (local.get $at) (i32.const 42))))
    (i32.store (i32.const 0) (i32.const 32))
    (i32.store (i32.const 4) (i32.const 27))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))

  (func (export "_start") (call $print (call $run (i32.const 100))))
)
