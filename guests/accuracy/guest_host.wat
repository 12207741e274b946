;; Guest against host: the guest makes a number of steps, then asks the host to make as many, through
;; its one import, bench.work. True shares of time: $guest 50%, the host 50%; everything else, under
;; 0.1%. It runs only in a host that has that import.
;;
;; The unit of work is a step, x = (x * 0x5851f42d4c957f2d) ^ 0x14057b7ef767814f, two instructions that each wait for
;; the one before, so time is proportional to the number of steps. Each round draws a length from 1
;; to 32 and uses it for every side, so that the shares stay exact and no period of the program can
;; fall in with the sampler's.
;;
;; `run` takes a scale (1 is about 5 ms) and returns nothing; there is no `_start`. `sink` holds
;; the end of the chain of all runs so far, to compare.
(module $guest_host
  ;; work(steps, x): the host makes so many steps from x and returns the result. It must do the same
  ;; work at the same speed: in Rust, for each step, x = x.wrapping_mul(0x5851f42d4c957f2d) ^ 0x14057b7ef767814f.
  (import "bench" "work" (func $work (param i32 i64) (result i64)))

  (global $seed (mut i64) (i64.const 88172645463325252))
  (global $sink (export "sink") (mut i64) (i64.const 1))

  ;; The length of the next round, from 1 to 32.
  (func $length (result i32)
    (local $x i64)
    (local.set $x (global.get $seed))
    (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
    (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
    (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
    (global.set $seed (local.get $x))
    (i32.add (i32.and (i32.wrap_i64 (i64.shr_u (local.get $x) (i64.const 20))) (i32.const 31)) (i32.const 1)))

  (func $guest (param $steps i32) (param $x i64) (param $k i64) (param $c i64) (result i64)
    (loop $again
      (local.set $x (i64.xor (i64.mul (local.get $x) (local.get $k)) (local.get $c)))
      (br_if $again (local.tee $steps (i32.sub (local.get $steps) (i32.const 1)))))
    (local.get $x))

  (func $run (export "run") (param $scale i32)
    (local $length i32) (local $x i64)
    (local.set $scale (i32.mul (local.get $scale) (i32.const 28)))
    (local.set $x (global.get $sink))
    (block $done
      (loop $round
        (br_if $done (i32.eqz (local.get $scale)))
        (local.set $length (call $length))
        (local.set $x (call $guest (i32.mul (local.get $length) (i32.const 4000)) (local.get $x)
          (i64.const 0x5851f42d4c957f2d) (i64.const 0x14057b7ef767814f)))
        (local.set $x (call $work (i32.mul (local.get $length) (i32.const 4000)) (local.get $x)))
        (local.set $scale (i32.sub (local.get $scale) (i32.const 1)))
        (br $round)))
    (global.set $sink (local.get $x))))
