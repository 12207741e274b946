;; Exceptions: throws that pass through several frames, are caught by tag, by reference, by catch_all,
;; or caught and thrown again. Needs the exception-handling proposal (try_table, exnref).
;;
;; `run` takes a scale and returns a checksum; `_start` runs it at 100 and prints the sum.
(module $exceptions
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "0123456789abcdef")
  (data (i32.const 32) "exceptions ----------------\0a")

  (tag $number (param i64))
  (tag $pair (param i32 i64))
  (tag $empty)

  (func $work (param $x i64) (param $steps i32) (result i64)
    (loop $again
      (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
      (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
      (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
      (br_if $again (local.tee $steps (i32.sub (local.get $steps) (i32.const 1)))))
    (local.get $x))

  ;; Goes down and ends in one of three throws, or in none.
  (func $down (param $depth i32) (param $x i64) (result i64)
    (local $kind i32)
    (if (local.get $depth)
      (then
        (return (i64.add
          (call $down (i32.sub (local.get $depth) (i32.const 1)) (local.get $x))
          (i64.const 1)))))
    (local.set $x (call $work (local.get $x) (i32.const 500)))
    (local.set $kind (i32.and (i32.wrap_i64 (local.get $x)) (i32.const 3)))
    (if (i32.eq (local.get $kind) (i32.const 0)) (then (throw $number (local.get $x))))
    (if (i32.eq (local.get $kind) (i32.const 1)) (then (throw $pair (i32.const 7) (local.get $x))))
    (if (i32.eq (local.get $kind) (i32.const 2)) (then (throw $empty)))
    (local.get $x))

  ;; Catches every kind, and throws the pair again by its reference.
  (func $middle (param $x i64) (result i64)
    (local $caught exnref)
    (block $on_number (result i64)
      (block $on_pair (result i32 i64 exnref)
        (block $on_any
          (return
            (try_table (result i64)
              (catch $number $on_number) (catch_ref $pair $on_pair) (catch_all $on_any)
              (call $down (i32.const 6) (local.get $x)))))
        (return (call $work (i64.add (local.get $x) (i64.const 1)) (i32.const 50))))
      (local.set $caught)
      (drop)
      (drop)
      (throw_ref (local.get $caught)))
    (call $work (i32.const 60)))

  ;; Catches what $middle let pass, by tag and by catch_all_ref.
  (func $outer (param $x i64) (result i64)
    (block $on_pair (result i32 i64)
      (block $on_any (result exnref)
        (return
          (try_table (result i64) (catch $pair $on_pair) (catch_all_ref $on_any)
            (call $middle (local.get $x)))))
      (drop)
      (unreachable))
    (local.set $x)
    (i64.extend_i32_u)
    (i64.add (local.get $x)))

  (func $run (export "run") (param $scale i32) (result i64)
    (local $x i64)
    (local.set $x (i64.const 88172645463325252))
    (local.set $scale (i32.mul (local.get $scale) (i32.const 9000)))
    (block $done
      (loop $again
        (br_if $done (i32.eqz (local.get $scale)))
        (local.set $x (i64.or (call $outer (local.get $x)) (i64.const 4)))
        (local.set $scale (i32.sub (local.get $scale) (i32.const 1)))
        (br $again)))
    (local.get $x))

  ;; Prints the guest's name and the sum as 16 hexadecimal digits.
  (func $print (param $sum i64)
    (local $at i32)
    (local.set $at (i32.const 59))
    (loop $digit
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at)
        (i32.load8_u offset=16 (i32.wrap_i64 (i64.and (local.get $sum) (i64.const 15)))))
      (local.set $sum (i64.shr_u (local.get $sum) (i64.const 4)))
      (br_if $digit (i32.ne (local.get $at) (i32.const 43))))
    (i32.store (i32.const 0) (i32.const 32))
    (i32.store (i32.const 4) (i32.const 28))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))

  (func (export "_start") (call $print (call $run (i32.const 100))))
)
